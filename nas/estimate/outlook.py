"""A moving estimate: what is left of a run, by what its workers tell. No torch.

Before anything is told it reckons with the usual speed of a core; every stage that is heard of corrects it, and so does
every finished evaluation. The rates that are told hold all waiting for measurements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nas.candidates.candidate import Candidate
from nas.estimate.computing import Course
from nas.estimate.plan import BEFORE_TRAINING, Plan
from nas.estimate.speed import Line, Speed, Timed, fitted
from nas.estimate.whole import REPORT_SECONDS, baselines, cycled, makespan, spread, trials_of
from nas.records import Evaluation, State
from nas.tasks import Progress, Task

USUAL_AROUND, USUAL_MEASURING, USUAL_START = Line(1.0), Line(0.3), 4.0
PRIOR = 4  # candidates' worth of belief in the random draws, beside those that were trained
REMEMBERED = 24  # stages that were heard of last
LAST = 64  # trials that say of what size the next ones are
OWN_PARTS = ("train", "measure", "teach", "rung")
AFTER_TRAINING = ("emit", "verify", "measure", "score")  # some are also done before it, of an untrained copy
Key = tuple[str, int]


@dataclass(frozen=True)
class Heard:
    """The part that an evaluation is at, whether its attempt has begun to train, and the share of the training that is
    over, that of earlier attempts included.
    """

    part: str = ""
    trains: bool = False
    share: float = 0.0

    def then(self, progress: Progress) -> Heard:
        """After one more word."""
        is_training = progress.part == "train"
        trains = is_training or (self.trains and progress.part != "build")  # where every attempt begins
        share = progress.epochs / progress.budget if is_training and progress.budget else self.share
        return Heard(progress.part, trains, share)

    @property
    def is_trained(self) -> bool:
        return self.trains and self.part in AFTER_TRAINING


def usual_speed() -> Speed:
    """Before anything is timed."""
    return Speed(fitted(()), USUAL_AROUND, USUAL_MEASURING, USUAL_START)


@dataclass
class Outlook:
    """What a run has told so far."""

    plan: Plan
    _heard: dict[Key, Heard] = field(default_factory=dict)
    _teacher: float = 0.0  # seconds that a teacher's training still takes
    _timed: dict[tuple[str, int, str], Timed] = field(default_factory=dict)
    _around: list[float] = field(default_factory=list)
    _measuring: list[float] = field(default_factory=list)
    _trained: list[Candidate] = field(default_factory=list)

    def hear(self, task: Task, progress: Progress) -> None:
        """What a running task is at."""
        self._heard[_key(task)] = self._heard.get(_key(task), Heard()).then(progress)
        if progress.images_per_second <= 0:
            return
        course = self.plan.at_last if _is_final(task) else self.plan.in_search
        if progress.part == "train":
            self._time(task, progress, course)
        else:  # all that it teaches wait for it
            self._teacher = (progress.budget - progress.epochs) * course.train_images / progress.images_per_second

    def _time(self, task: Task, progress: Progress, course: Course) -> None:
        row = self.plan.computed(task.candidate, final=_is_final(task)).rows.get(progress.stage)
        if row is None:
            return
        key = (*_key(task), progress.stage)
        self._timed.pop(key, None)
        self._timed[key] = Timed(progress.stage, row, course.batch_size / progress.images_per_second)
        while len(self._timed) > REMEMBERED:
            self._timed.pop(next(iter(self._timed)))
        self._learn()

    def finished(self, task: Task, evaluation: Evaluation) -> None:
        """An evaluation has come to its end."""
        self._heard.pop(_key(task), None)
        if evaluation.state is not State.COMPLETE:
            return
        seconds = evaluation.seconds
        self._around.append(sum(own for part, own in seconds.items() if part not in OWN_PARTS))
        self._measuring.append(seconds.get("measure", 0.0) / 2)
        if task.phase == "search":
            self.trained(task.candidate)
        self._learn()

    def trained(self, candidate: Candidate) -> None:
        """A trial that is complete."""
        self._trained.append(candidate)
        del self._trained[:-LAST]

    def _learn(self) -> None:
        workers = self.plan.study.search.worker_count
        around = Line(_mean(self._around)) if self._around else USUAL_AROUND
        measuring = Line(_mean(self._measuring) / workers) if self._measuring else USUAL_MEASURING  # waits are in it
        speed = Speed(fitted(list(self._timed.values())), around, measuring, USUAL_START)
        self.plan = replace(self.plan, speed=speed)

    def left(self, task: Task) -> float:
        """Seconds that a running task still takes."""
        plan, candidate, final = self.plan, task.candidate, _is_final(task)
        around, measuring = plan.around(candidate), plan.measuring(candidate)
        if task.made_from is not None:  # it is not trained
            return around + measuring
        heard = self._heard.get(_key(task))
        if heard is None:
            return plan.job(candidate, final=final)
        after = (1 - BEFORE_TRAINING) * around
        if heard.is_trained:
            return after / 2 + measuring
        before = 0.0 if heard.trains else BEFORE_TRAINING * around
        awaited = self._teacher if heard.part == "teach" else 0.0
        training = plan.speed.seconds(plan.computed(candidate, final=final).after(heard.share))
        return before + awaited + training + after + measuring

    def search_left(self, running: Sequence[Task], trials: int, *, within: float = math.inf) -> float:
        """Seconds of the search: what runs, and so many trials that are not begun, none after `within` seconds."""
        busy, usual = self._busy(running), self._usual_job()
        whole = makespan(cycled([usual], trials if within > 0 else 0), self._workers, busy=busy)
        return max(0.0, *busy, min(whole, within + usual))

    def _usual_job(self) -> float:
        """Of a trial as they come: those trained so far, and the random draws, which count as PRIOR of them."""
        plan = self.plan
        drawn = _mean([plan.job(one, load=plan.load) for one in plan.expected.draws])
        trained = [plan.job(one, load=plan.load) for one in self._trained]
        return (PRIOR * drawn + sum(trained)) / (PRIOR + len(trained))

    def repeats_left(self, running: Sequence[Task], repeats: int) -> float:
        """Seconds of the repeats, of which so many are not begun."""
        plan, known = self.plan, self._trained or self.plan.expected.draws
        job = _mean([plan.job(one) for one in known])
        return makespan(cycled([job], repeats), self._workers, busy=self._busy(running))

    def finals_left(self, running: Sequence[Task], waiting: Sequence[Candidate]) -> float:
        """Seconds of what is trained after the search: what is running, and what waits, in its order."""
        jobs = [self.plan.job(one, final=True) for one in waiting]
        return makespan(jobs, self._workers, busy=self._busy(running))

    def after_search(self) -> float:
        """Seconds of all that follows the search."""
        search = self.plan.study.search
        return self.repeats_left((), int(search.repeat_share * trials_of(self.plan))) + self.finals_seconds()

    def finals_seconds(self) -> float:
        """Seconds of finalists, baseline and report before they are chosen, by the candidates trained so far."""
        known = [*self._trained, *(self.plan.expected.draws if len(self._trained) < PRIOR else ())]
        finals = spread(known, self.plan.study.search.finalists)
        return self.finals_left((), [*finals, *baselines(self.plan.study)]) + self.report_seconds

    @property
    def report_seconds(self) -> float:
        return REPORT_SECONDS

    def _busy(self, running: Sequence[Task]) -> list[float]:
        return sorted(map(self.left, running), reverse=True)[: self._workers]

    @property
    def _workers(self) -> int:
        return self.plan.study.search.worker_count


def _key(task: Task) -> Key:
    return task.phase, task.number


def _is_final(task: Task) -> bool:
    return task.phase in ("final", "reference")


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)
