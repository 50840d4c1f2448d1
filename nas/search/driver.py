"""What search and finalists share: one journal study each, recovery after a death, telling results.

Drivers are passive, and all their state is in the journal: `propose` answers with a Task, with WAIT while running tasks
must end first, or with Done; `report` says whether a training that has come so far goes on; `finish` takes a result.
A restarted driver tells what was finished meanwhile and proposes what was not again, with the same trial number and
candidate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import insort
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from operator import attrgetter
from typing import Any, Protocol

from nas.records import Evaluation, Phase, State
from nas.run_folder.attempts import forget_spent
from nas.run_folder.paths import RunFolder, read_evaluation, write_evaluation
from nas.run_folder.rows import ROW, TrialNotes, TrialRow, row_in, row_of, words_of
from nas.run_folder.rungs import spent_on
from nas.search.journal import Direction, Journal, RecordedTrial
from nas.search.telling import told_of
from nas.study import Study
from nas.tasks import CHECKPOINT_FILE, Rung, Task, Verdict

MAX_DEATHS = 3


class Wait(Enum):
    """Nothing to propose until a running task ends."""

    WAIT = "wait"


WAIT = Wait.WAIT


@dataclass(frozen=True)
class Done:
    """The driver has nothing more to propose; `problem` says why where it ended before its goal."""

    problem: str = ""


@dataclass(frozen=True)
class Failure:
    """Why an evaluation that left no record counts as failed: the kind of error, and the reason in words."""

    error: str
    reason: str


class Drives(Protocol):
    """What the loop around an executor sees of a driver, or of several that share the places."""

    @property
    def folder(self) -> RunFolder: ...

    def rows(self) -> list[TrialRow]: ...

    def propose(self) -> Task | Wait | Done: ...

    def report(self, task: Task, rung: Rung) -> Verdict: ...

    def paused(self, task: Task) -> None: ...

    def finish(self, task: Task, evaluation: Evaluation) -> TrialRow: ...

    def died(self, task: Task, reason: str, *, started: bool = True) -> TrialRow | None: ...

    def took_too_long(self, task: Task) -> TrialRow: ...


class Driver(ABC):
    """What search and finalists share: one journal study, recovery after a death, telling results.

    A subclass says of which phase its evaluations are, and what they may read and must keep to; `is_search`: they are
    trained as search trials are.
    """

    phase: Phase
    is_search: bool = False
    reads_test: bool = False
    is_constrained: bool = True

    def __init__(
        self,
        study: Study,
        folder: RunFolder,
        name: str,
        directions: list[Direction],
        *,
        beside: Journal | None = None,
    ) -> None:
        self.study, self.folder = study, folder
        self.journal = Journal(folder.journal, name, directions, beside=beside)
        self._waiting: list[Task] = []
        self._running: dict[int, Task] = {}
        self._rows: list[TrialRow] = []
        self._counts: Counter[State] = Counter()
        self._unfinished: list[int] = []
        self._looked_at = 0
        self._recover()

    @abstractmethod
    def propose(self) -> Task | Wait | Done:
        """The next task, if there is one now."""

    def report(self, task: Task, rung: Rung) -> Verdict:
        """Whether the training of `task` goes on after `rung`; asked between epochs."""
        return Verdict.CONTINUE

    def take_up(self, number: int) -> Task | None:
        """The waiting task of a trial that somebody goes on with unasked; None where it does not wait."""
        task = next((task for task in self._waiting if task.number == number), None)
        if task is not None:
            self._waiting.remove(task)
            self._start(task)
        return task

    @property
    def waiting(self) -> list[Task]:
        """What is known to be evaluated next, in this order."""
        return list(self._waiting)

    def rows(self) -> list[TrialRow]:
        """One row per finished trial, in order of number."""
        self._look()
        return list(self._rows)

    def count(self, state: State) -> int:
        """How many trials ended in this state."""
        self._look()
        return self._counts[state]

    def notes(self, number: int) -> TrialNotes:
        """What is noted of a trial."""
        return TrialNotes.from_json(self.journal.trials()[number].user_attrs)

    def _look(self) -> list[RecordedTrial]:
        """Take in what finished since the last look, so that an ask does not read every trial again.

        A finished trial never changes. Returns the trials.
        """
        trials = self.journal.trials()
        waiting = [*self._unfinished, *range(self._looked_at, len(trials))]
        self._looked_at = len(trials)
        self._unfinished = [number for number in waiting if not trials[number].state.is_finished()]
        for trial in (trials[number] for number in waiting):
            row = row_in(trial.user_attrs) if trial.state.is_finished() else None
            if row is not None:
                insort(self._rows, row, key=attrgetter("number"))
                self._counts[row.state] += 1
        return trials

    def paused(self, task: Task) -> None:
        """The worker of `task` is free after a PAUSE: the task is proposed again and continues from its checkpoint."""
        self._running.pop(task.number, None)
        self._waiting.append(task)

    def finish(self, task: Task, evaluation: Evaluation) -> TrialRow:
        """Tell a result; returns its row."""
        self._running.pop(task.number, None)
        row = self._row(task, evaluation)
        self._tell(evaluation, row)
        return row

    def died(self, task: Task, reason: str, *, started: bool = True) -> TrialRow | None:
        """A worker died over `task`: it is proposed again, or FAILED at its third death (then its row is returned).

        A worker that had never `started` says nothing about the candidate; nor does a death of the driver.
        """
        self._running.pop(task.number, None)
        evaluation = read_evaluation(task.folder)  # it may have died after the result was written
        deaths = self.notes(task.number).deaths + started
        if evaluation is None and deaths >= MAX_DEATHS:
            evaluation = self._failed(task, Failure("WorkerDied", f"{reason} (death {deaths})"))
        if evaluation is not None:
            return self.finish(task, evaluation)
        self.journal.note(task.number, "deaths", deaths)
        self._again(task)
        return None

    def took_too_long(self, task: Task) -> TrialRow:
        """A worker was killed over the time limit: FAILED at once, since a second attempt would take as long."""
        evaluation = read_evaluation(task.folder)  # it may have been written in the last moment
        if evaluation is None:
            scaled = f" x {task.epochs / self.study.search_epochs:g}" if task.epochs != self.study.search_epochs else ""
            alike = self.is_search or self.study.trials_see_as_much
            more = "" if alike else ", and more for its images"
            reason = f"took longer than search.trial_minutes {self.study.search.trial_minutes:g}{scaled}{more}"
            evaluation = self._failed(task, Failure("TookTooLong", reason))
        return self.finish(task, evaluation)

    def _recover(self) -> None:
        """Tell what was finished while no driver listened; queue what was not."""
        for trial in self.journal.trials():
            if trial.state.is_finished() or TrialNotes.from_json(trial.user_attrs).duplicate_of is not None:
                continue
            task = self._task(trial.number)
            evaluation = read_evaluation(task.folder)
            if evaluation is not None:
                forget_spent(task.folder)
                self.finish(task, evaluation)
            elif not self._is_paused(trial):
                self._again(task)

    def _is_paused(self, trial: RecordedTrial) -> bool:
        """Whether an unfinished trial waits for more than a worker."""
        return False

    def _rungs_of(self, number: int) -> tuple[float, ...]:
        """At which shares of its training a trial is scored meanwhile."""
        return ()

    def _again(self, task: Task) -> None:
        """Queue an unfinished trial once more; it goes on from its checkpoint."""
        self.journal.note(task.number, "attempts", task.attempt + 1)
        self._waiting.append(self._task(task.number))

    def _failed(self, task: Task, failure: Failure) -> Evaluation:
        """Record an evaluation that left no record of its own."""
        spent = spent_on(task)
        evaluation = Evaluation(
            candidate_id=task.candidate.id,
            structure_id="",
            phase=task.phase,
            seed=task.seed,
            state=State.FAILED,
            error=failure.error,
            reason=failure.reason,
            budget=task.budget_in(self.study),
            target=self.study.target.name,
            training=task.training,
            recipe=task.recipe,
            attempts=task.attempt,
            seconds=spent.seconds,
            started_at=spent.started_at,
        )
        write_evaluation(task.folder, evaluation)
        forget_spent(task.folder)
        (task.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
        return evaluation

    def _start(self, task: Task) -> Task:
        self._running[task.number] = task
        return task

    def _task(self, number: int) -> Task:
        notes = self.notes(number)
        return Task(
            number=number,
            candidate=notes.candidate,
            phase=self.phase,
            seed=notes.seed,
            epochs=notes.epochs,
            folder=self.folder.artifact(notes.id, self.phase, notes.seed, notes.settings),
            attempt=notes.attempts,
            training=dict(notes.training),
            reads_test=self.reads_test,
            is_constrained=self.is_constrained,
            rungs=self._rungs_of(number),
            recipe=self._recipe_of(notes),
            train_size=self.study.search.input_size if self.is_search else None,
        )

    def _recipe_of(self, notes: TrialNotes) -> Mapping[str, Any]:
        """What differs from the study's `training`, in keys of `finals`: of a search trial what the study says."""
        if self.is_search:
            return self.study.search_changes
        return {**notes.recipe, **({} if notes.teacher is None else {"teacher": notes.teacher})}

    def _row(self, task: Task, evaluation: Evaluation) -> TrialRow:
        params = self.journal.trials()[task.number].params
        artifact = self.folder.relative(task.folder)
        row = row_of(evaluation, number=task.number, artifact=artifact, params=params)
        notes = self.notes(task.number)
        return replace(row, retry_of=notes.retry_of, recipe=words_of(notes.recipe) or None)

    def _tell(self, evaluation: Evaluation, row: TrialRow) -> None:
        told = told_of(evaluation, self.study, self.rows)
        notes = {ROW: row.to_json()}
        self.journal.tell(row.number, told.values, constraints=told.constraints, notes=notes, pruned=told.pruned)
