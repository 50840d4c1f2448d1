"""The seconds of a whole study, by its parts, as ranges. No torch.

A search trains small networks where these are good enough, and large ones where only they are: which of the two cannot
be known before. So each range goes from the smaller half of what may be drawn to the larger.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nas.candidates.baseline import baseline_candidate
from nas.candidates.candidate import Candidate
from nas.candidates.corners import teacher_candidate
from nas.estimate.candidates import Expected, expected_candidates
from nas.estimate.plan import Plan
from nas.estimate.speed import Speed
from nas.measuring.calibration import seconds_of
from nas.study import Study
from nas.study.recipe import Distillation
from nas.study.search import COPY_SHARE, MODELLING

ASK_SECONDS = 1.0  # a sampler that models thinks so long before a trial
REPORT_SECONDS = 4.0
CALIBRATED = (0.1, 0.5)  # of the seconds allowed for calibration: it ends when enough is known


@dataclass(frozen=True)
class Seconds:
    """A range of seconds."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """The geometric mean: as many times more than the low end as less than the high one."""
        return math.sqrt(self.low * self.high)

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.low + other.low, self.high + other.high)


@dataclass(frozen=True)
class Estimate:
    """Seconds of the search with all that comes before it, of what is trained after it, and of both with the report."""

    search: Seconds
    finalists: Seconds
    total: Seconds


def estimate(
    study: Study, speed: Speed, *, train_images: int, num_classes: int = 10, expected: Expected | None = None
) -> Estimate:
    """How long `nas run` takes from its start to its report, on an otherwise idle machine.

    `train_images` are those there are: the study may use fewer. `expected` are the candidates of the study
    (`expected_candidates`), where they are drawn already: they depend on the space, the compression, the limits, the
    sampler and the seed alone.
    """
    expected = expected or expected_candidates(study, num_classes=num_classes, known=speed.known)
    return estimate_of(Plan(study, speed, train_images, num_classes, expected))


def estimate_of(plan: Plan) -> Estimate:
    """How long a study takes that is planned."""
    search = before_search(plan) + _each(lambda larger: search_seconds(plan, larger))
    finalists = _each(lambda larger: after_search(plan, larger))
    return Estimate(search, finalists, search + finalists + Seconds(REPORT_SECONDS, REPORT_SECONDS))


def _each(seconds: Callable[[bool], float]) -> Seconds:
    low, high = sorted(map(seconds, (False, True)))
    return Seconds(low, high)


def before_search(plan: Plan) -> Seconds:
    """A worker's start, calibration, and the teacher that all candidates wait for."""
    study = plan.study
    always, (low, high) = plan.speed.start + teacher_seconds(plan, study.training.distillation, final=False), CALIBRATED
    return Seconds(always + low * seconds_of(study), always + high * seconds_of(study))


def search_seconds(plan: Plan, larger: bool) -> float:
    """The trials, those that break a limit and repeats included; after `search.hours` none begins."""
    search, expected = plan.study.search, plan.expected
    draws, trials = half(expected.draws, plan, larger), trials_of(plan)
    if not larger and search.sampler in MODELLING:  # it goes where networks are small, if these are good enough
        draws = half(draws, plan, larger)
    jobs = [plan.job(one, load=plan.load) for one in expected.anchors][:trials]
    rest = trials - len(jobs)
    jobs += cycled([plan.job(one, load=plan.load) for one in draws], rest)
    broken = expected.excluded_anchors + round(expected.excluded * rest)
    jobs += cycled([plan.infeasible(one) for one in draws], broken)
    asks = ASK_SECONDS * trials / search.worker_count if search.sampler in MODELLING else 0.0
    whole = makespan(jobs, search.worker_count) + asks
    allowed = math.inf if search.hours is None else 3600 * search.hours
    done = min(1.0, allowed / whole) * trials
    repeats = cycled([plan.job(one) for one in draws], int(search.repeat_share * done))
    return min(whole, allowed + max(jobs)) + makespan(repeats, search.worker_count)


def trials_of(plan: Plan) -> int:
    """Trials that come to their end: as many as are asked for, or as there are epochs for."""
    search = plan.study.search
    if search.epoch_budget is None:
        return search.trials
    each = plan.study.search_epochs * (plan.load.trainings + COPY_SHARE * plan.load.looks)
    return max(1, min(search.trials, int(search.epoch_budget / each)))


def after_search(plan: Plan, larger: bool) -> float:
    """Finalists, the longest first: a front holds networks of all sizes between the ends of its range.

    Where small networks are good enough it ends early: they are less than a quarter of what may be drawn.
    """
    search, pool = plan.study.search, [*plan.expected.anchors, *plan.expected.draws]
    pool = half(pool, plan, larger) if larger else half(half(pool, plan, larger), plan, larger)
    jobs = sorted((plan.job(one, final=True) for one in spread(pool, search.finalists)), reverse=True)
    jobs += [plan.job(one, final=True) for one in baselines(plan.study)]
    return last_teacher(plan) + makespan(jobs, search.worker_count)


def last_teacher(plan: Plan) -> float:
    """Seconds of a teacher that finalists wait for, where it is not the search's."""
    study = plan.study
    is_the_searches = study.training.needs_reference and not study.finals.changes()
    if is_the_searches or not study.search.finalists:
        return 0.0
    return teacher_seconds(plan, study.final_recipe.distillation, final=True)


def teacher_seconds(plan: Plan, options: Distillation | None, *, final: bool) -> float:
    """Seconds of a reference teacher's training; none where there is no such teacher, or where it is finished.

    One that torchvision builds counts as the largest network of the space: it is not tried beforehand.
    """
    if options is None or options.teacher == "self":
        return 0.0
    is_finished = options.architecture is not None and not options.architecture.endswith(".json")
    return 0.0 if is_finished else plan.training(teacher_candidate(plan.study, options), final=final)


def baselines(study: Study) -> list[Candidate]:
    """What is trained beside the finalists, in the places they leave."""
    return [baseline_candidate(study)] if study.baseline else []


def half(candidates: Sequence[Candidate], plan: Plan, larger: bool) -> list[Candidate]:
    """The smaller or the larger half by MACs, each with the middle one, in their old order."""
    macs = [one.macs(plan.num_classes) for one in candidates]
    middle = sorted(macs)[(len(macs) - 1) // 2]
    return [one for one, own in zip(candidates, macs, strict=True) if (own >= middle if larger else own <= middle)]


def spread(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """As many, evenly over the candidates by MACs, the largest first."""
    ordered = sorted(candidates, key=lambda one: one.macs(1), reverse=True)
    last = len(ordered) - 1
    return [ordered[round(i * last / max(1, count - 1))] for i in range(count)]


def cycled(seconds: Sequence[float], count: int) -> list[float]:
    """So many of them, from the first on again and again."""
    return [seconds[i % len(seconds)] for i in range(count)]


def makespan(jobs: Sequence[float], workers: int, *, busy: Sequence[float] = ()) -> float:
    """Seconds until all are done, each begun in this order by the first worker that is free.

    `busy` are the seconds for which workers have something else to do, at most one for each.
    """
    ends = [*busy, *[0.0] * (workers - len(busy))]
    heapq.heapify(ends)
    for seconds in jobs:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)
