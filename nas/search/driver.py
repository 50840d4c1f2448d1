"""What search and finalists share: one journal study each, recovery after a death, telling results.

Drivers are passive, and all their state is in the journal: `propose` answers with a Task, with WAIT while running tasks
must end first, or with Done. A restarted driver tells what was finished meanwhile and proposes what was not again, with
the same trial number and candidate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import insort
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from nas.candidates.candidate import Candidate
from nas.candidates.hyperparameters import Numbers
from nas.objectives import slacks
from nas.records import QUALITIES, Evaluation, Phase, State
from nas.run_folder.paths import RunFolder, read_evaluation, write_evaluation
from nas.run_folder.rows import row_of
from nas.search.journal import Direction, Journal, RecordedTrial
from nas.study import Study
from nas.tasks import CHECKPOINT_FILE, Rung, Task, Verdict

MAX_DEATHS = 3


class Wait(Enum):
    """Nothing to propose until a running task ends."""

    WAIT = "wait"


WAIT = Wait.WAIT


@dataclass(frozen=True)
class Done:
    """The phase is over; `problem` says why where it ended before its goal."""

    problem: str = ""


Identity = tuple[str, tuple[tuple[str, float], ...]]


def identity_of(notes: Mapping[str, Any]) -> Identity:
    """What makes two trials the same evaluation: the candidate and its searched training numbers."""
    return notes["id"], tuple(sorted(notes.get("training", {}).items()))


class Driver(ABC):
    """What search and finalists share: one journal study, recovery after a death, telling results."""

    phase: Phase

    def __init__(self, study: Study, folder: RunFolder, name: str, directions: list[Direction]) -> None:
        self.study, self.folder = study, folder
        self.journal = Journal(folder.journal, name, directions)
        self._waiting: list[Task] = []
        self._running: dict[int, Task] = {}
        self._rows: list[dict[str, Any]] = []
        self._counts: Counter[str] = Counter()
        self._unfinished: list[int] = []
        self._looked_at = 0
        self._recover()

    @abstractmethod
    def propose(self) -> Task | Wait | Done:
        """The next task, if there is one now."""

    def rows(self) -> list[dict[str, Any]]:
        """One row per finished trial, in order of number."""
        self._look()
        return list(self._rows)

    def count(self, state: State) -> int:
        self._look()
        return self._counts[state]

    def _look(self) -> list[RecordedTrial]:
        """Take in what finished since the last look, so that an ask does not read every trial again.

        A finished trial never changes. Returns the trials.
        """
        trials = self.journal.trials()
        waiting = [*self._unfinished, *range(self._looked_at, len(trials))]
        self._looked_at = len(trials)
        self._unfinished = [number for number in waiting if not trials[number].state.is_finished()]
        for trial in (trials[number] for number in waiting):
            if trial.state.is_finished() and "row" in trial.user_attrs:
                row = trial.user_attrs["row"]
                insort(self._rows, row, key=lambda r: int(r["number"]))
                self._counts[row["state"]] += 1
        return trials

    def report(self, task: Task, rung: Rung) -> Verdict:
        """Whether a training that is at `rung` shall go on; called after every epoch."""
        return Verdict.CONTINUE

    def paused(self, task: Task) -> None:
        """A worker let go of `task`, as `report` had answered: it is proposed again, with its checkpoint."""
        self._running.pop(task.number, None)
        self._waiting.append(task)

    def finish(self, task: Task, evaluation: Evaluation) -> dict[str, Any]:
        """Tell a result; returns its row."""
        self._running.pop(task.number, None)
        row = self._row(self.journal.trials()[task.number], evaluation)
        self._tell(task.number, evaluation, row)
        return row

    def died(self, task: Task, reason: str, *, started: bool = True) -> dict[str, Any] | None:
        """A worker died over `task`: it is proposed again, or FAILED at its third death (then its row is returned).

        A worker that had never `started` says nothing about the candidate; nor does a death of the driver.
        """
        self._running.pop(task.number, None)
        evaluation = read_evaluation(task.folder)  # it may have died after the result was written
        deaths = self.journal.trials()[task.number].user_attrs["deaths"] + started
        if evaluation is None and deaths >= MAX_DEATHS:
            evaluation = self._dead(task, f"{reason} (death {deaths})")
        if evaluation is not None:
            return self.finish(task, evaluation)
        self.journal.note(task.number, "deaths", deaths)
        self._again(task)
        return None

    def took_too_long(self, task: Task) -> dict[str, Any]:
        """A worker was killed over the time limit: FAILED at once, since a second attempt would take as long."""
        evaluation = read_evaluation(task.folder)  # it may have been written in the last moment
        if evaluation is None:
            scaled = f" x {task.epochs / self.study.search_epochs:g}" if task.epochs != self.study.search_epochs else ""
            reason = f"took longer than search.trial_minutes {self.study.search.trial_minutes:g}{scaled}"
            evaluation = self._dead(task, reason, error="TookTooLong")
        return self.finish(task, evaluation)

    def _recover(self) -> None:
        """Tell what was finished while no driver listened; queue what was not."""
        for trial in self.journal.trials():
            if trial.state.is_finished() or "duplicate_of" in trial.user_attrs:
                continue
            task = self._task(trial)
            evaluation = read_evaluation(task.folder)
            if evaluation is not None:
                self.finish(task, evaluation)
            else:
                self._again(task)

    def _again(self, task: Task) -> None:
        """Queue an unfinished trial once more; it goes on from its checkpoint."""
        self.journal.note(task.number, "attempts", task.attempt + 1)
        self._waiting.append(self._task(self.journal.trials()[task.number]))

    def _dead(self, task: Task, reason: str, *, error: str = "WorkerDied") -> Evaluation:
        evaluation = Evaluation(
            candidate_id=task.candidate.id,
            structure_id="",
            phase=task.phase,
            seed=task.seed,
            state=State.FAILED,
            error=error,
            reason=reason,
            budget=self.study.training.epochs,
            target=self.study.target.name,
            training=task.training,
            attempts=task.attempt,
            started_at="",
        )
        write_evaluation(task.folder, evaluation)
        (task.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
        return evaluation

    def _start(self, task: Task) -> Task:
        self._running[task.number] = task
        return task

    def _task(self, trial: RecordedTrial) -> Task:
        notes = trial.user_attrs
        candidate, numbers = Candidate.from_json(notes["candidate"]), notes.get("training", {})
        return Task(
            number=trial.number,
            candidate=candidate,
            phase=self.phase,
            seed=notes["seed"],
            epochs=notes["epochs"],
            folder=self.folder.artifact(candidate.id, self.phase, notes["seed"], numbers),
            attempt=notes["attempts"],
            training=numbers,
        )

    def _row(self, trial: RecordedTrial, evaluation: Evaluation) -> dict[str, Any]:
        artifact = self.folder.relative(self._task(trial).folder)
        row = row_of(trial.number, evaluation, artifact, trial.params, self.study)
        return row | {"retry_of": trial.user_attrs.get("retry_of")}

    def _tell(self, number: int, evaluation: Evaluation, row: Mapping[str, Any]) -> None:
        """INFEASIBLE is COMPLETE to samplers, with its real costs and the worst quality as a placeholder."""
        values = None
        if evaluation.measurement is not None and evaluation.state not in (State.FAILED, State.PRUNED):
            placeholder = dict.fromkeys(QUALITIES, 0.0) if evaluation.state is State.INFEASIBLE else {}
            values = [
                placeholder[name] if name in placeholder else evaluation.values((name,))[0]
                for name in self.study.objectives
            ]
        self.journal.tell(number, values, slacks(evaluation, self.study.limits), {"row": dict(row)})

    @staticmethod
    def _notes(candidate: Candidate, numbers: Numbers, seed: int, epochs: int) -> dict[str, Any]:
        notes = {"candidate": candidate.to_json(), "id": candidate.id, "seed": seed, "epochs": epochs}
        return {**notes, **({"training": dict(numbers)} if numbers else {}), "attempts": 1, "deaths": 0}
