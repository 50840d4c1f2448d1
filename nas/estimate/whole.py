"""The seconds of a whole study, by its parts, as ranges. No torch.

A search trains small networks where these are good enough, and large ones where only they are: which of the two cannot
be known before. So each range goes from the smaller half of what may be drawn to the larger.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nas.candidates.candidate import Candidate
from nas.candidates.corners import teacher_candidate
from nas.candidates.hyperparameters import middle_numbers
from nas.estimate.candidates import Expected, expected_candidates
from nas.estimate.speed import Speed
from nas.measuring.calibration import seconds_of
from nas.samplers.halving import Load
from nas.search.rungs import halving_of
from nas.study import Recipe, Study
from nas.study.search import COPY_SHARE, MODELLING

ASK_SECONDS = 1.5  # a sampler that models thinks so long before a trial
REPORT_SECONDS = 4.0
ONE = Load()


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


@dataclass(frozen=True)
class Plan:
    """A study with all that its seconds depend on."""

    study: Study
    speed: Speed
    train_images: int
    num_classes: int
    expected: Expected

    def job(self, candidate: Candidate, recipe: Recipe, epochs: float, *, load: Load = ONE) -> float:
        """Seconds of a worker for one evaluation, as if the measurements, which hold all workers, were its own work."""
        training = self.speed.training_seconds(
            candidate, recipe, epochs=epochs, train_images=self.train_images, num_classes=self.num_classes
        )
        macs, workers = candidate.macs(self.num_classes), self.study.search.workers
        around, measuring = self.speed.around.at(macs), self.speed.measuring.at(macs)
        shared = training * (load.trainings + COPY_SHARE * load.looks) + around * (1 + load.looks)
        begun = (load.begun - 1) * (measuring * workers + self.untrained(around))
        return shared + 2 * measuring * workers + begun

    @staticmethod
    def untrained(around: float) -> float:
        """Of what is around a training, the part that comes before it."""
        return 0.2 * around

    def infeasible(self) -> float:
        """Seconds of a worker for a candidate that breaks a limit."""
        macs = _mean([one.macs(self.num_classes) for one in self.expected.draws])
        return self.untrained(self.speed.around.at(macs)) + self.study.search.workers * self.speed.measuring.at(macs)


def estimate(
    study: Study, speed: Speed, *, train_images: int, num_classes: int = 10, expected: Expected | None = None
) -> Estimate:
    """How long `nas run` takes from its start to its report, on an otherwise idle machine.

    `expected` are the candidates of the study (`expected_candidates`), where they are drawn already: they depend on the
    space, the compression, the limits, the sampler and the seed alone.
    """
    expected = expected or expected_candidates(study, num_classes=num_classes, known=speed.known)
    plan = Plan(study, speed, train_images, num_classes, expected)
    search = before_search(plan) + _each(lambda half: search_seconds(plan, half))
    finalists = _each(lambda half: after_search(plan, half))
    return Estimate(search, finalists, search + finalists + Seconds(REPORT_SECONDS, REPORT_SECONDS))


def _each(seconds: Callable[[bool], float]) -> Seconds:
    low, high = seconds(False), seconds(True)
    return Seconds(min(low, high), max(low, high))


def recipe_of(study: Study) -> Recipe:
    """The recipe of a candidate whose searched numbers are all in the middle."""
    return study.training.resolved(middle_numbers(study.training))


def before_search(plan: Plan) -> Seconds:
    """A worker's start, calibration, and the teacher that all candidates wait for."""
    study = plan.study
    teacher = 0.0
    if study.training.needs_reference:
        teacher = plan.speed.training_seconds(
            teacher_candidate(study), recipe_of(study), epochs=study.training.epochs,
            train_images=plan.train_images, num_classes=plan.num_classes,
        )  # fmt: skip
    calibration = seconds_of(study)
    always = plan.speed.start + teacher
    return Seconds(always + 0.2 * calibration, always + calibration)  # auto: until enough is known


def search_seconds(plan: Plan, larger: bool) -> float:
    """The trials, those that break a limit and repeats included."""
    study, expected = plan.study, plan.expected
    halving = halving_of(study)
    load = ONE if halving is None else halving.load()
    recipe, epochs = recipe_of(study), study.search_epochs
    trials, workers = study.search.trials, study.search.workers
    jobs = [plan.job(one, recipe, epochs, load=load) for one in expected.anchors][:trials]
    drawn = [plan.job(one, recipe, epochs, load=load) for one in half(expected.draws, plan, larger)]
    rest = trials - len(jobs)
    jobs += [drawn[i % len(drawn)] for i in range(rest)]
    jobs += [plan.infeasible()] * (expected.excluded_anchors + round(expected.excluded * rest))
    repeats = int(study.search.repeat_share * trials)
    whole = [plan.job(one, recipe, epochs) for one in half(expected.draws, plan, larger)]
    again = [whole[i % len(whole)] for i in range(repeats)]
    asks = ASK_SECONDS * trials / workers if study.search.sampler in MODELLING else 0.0
    return makespan(jobs, workers) + makespan(again, workers) + asks


def after_search(plan: Plan, larger: bool) -> float:
    """Finalists, the longest first: a front holds networks of all sizes between the ends of its range."""
    study = plan.study
    if not study.search.finalists:
        return 0.0
    pool = half((*plan.expected.anchors, *plan.expected.draws), plan, larger)
    jobs = [plan.job(one, recipe_of(study), study.training.epochs) for one in spread(pool, study.search.finalists)]
    return makespan(sorted(jobs, reverse=True), study.search.workers)


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


def makespan(jobs: Sequence[float], workers: int) -> float:
    """Seconds until all are done, each begun in this order by the first worker that is free."""
    ends = [0.0] * workers
    for seconds in jobs:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)
