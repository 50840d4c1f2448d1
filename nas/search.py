"""The driver: proposes tasks, takes their evaluations, chooses finalists. Passive, and all its state is in the journal.

`propose` answers with a Task, with WAIT while running tasks must end first, or with Done. A restarted driver tells
what was finished meanwhile and proposes what was not again, with the same trial number and candidate.
"""

from __future__ import annotations

import time
from bisect import insort
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.candidate import Candidate, sample
from nas.hyperparameters import Numbers, ask_numbers
from nas.pareto import non_dominated, thin
from nas.records import QUALITIES, Evaluation, Phase, State
from nas.run_folder import RunFolder, read_evaluation, write_evaluation
from nas.samplers import make_sampler, seed_of
from nas.storage import Direction, Journal
from nas.study import Study
from nas.tasks import CHECKPOINT_FILE, Task
from nas.trial_rows import row_of

MAX_REDRAWS, RANDOM_AFTER = 20, 10
INFEASIBLE_WINDOW, INFEASIBLE_SHARE = 100, 0.95
FAILURES_IN_A_ROW = 10
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


def _identity(notes: Mapping[str, Any]) -> Identity:
    """What makes two trials the same evaluation: the candidate and its searched training numbers."""
    return notes["id"], tuple(sorted(notes.get("training", {}).items()))


class Phases:
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

    def rows(self) -> list[dict[str, Any]]:
        """One row per finished trial, in order of number."""
        self._look()
        return list(self._rows)

    def count(self, state: State) -> int:
        self._look()
        return self._counts[state]

    def _look(self) -> list[FrozenTrial]:
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
            minutes = self.study.search.trial_minutes
            reason = f"took longer than search.trial_minutes {minutes:g}"
            evaluation = self._dead(task, reason, error="TookTooLong")
        return self.finish(task, evaluation)

    def _recover(self) -> None:
        """Tell what was finished while no driver listened; queue what was not."""
        for trial in self.journal.trials():
            if trial.state is not TrialState.RUNNING or "duplicate_of" in trial.user_attrs:
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

    def _task(self, trial: FrozenTrial) -> Task:
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

    def _row(self, trial: FrozenTrial, evaluation: Evaluation) -> dict[str, Any]:
        artifact = self.folder.relative(self._task(trial).folder)
        row = row_of(trial.number, evaluation, artifact, trial.params, self.study)
        return row | {"retry_of": trial.user_attrs.get("retry_of")}

    def _tell(self, number: int, evaluation: Evaluation, row: Mapping[str, Any]) -> None:
        """INFEASIBLE is COMPLETE to samplers, with its real costs and the worst quality as a placeholder."""
        values = None
        if evaluation.measurement is not None and evaluation.state is not State.FAILED:
            placeholder = dict.fromkeys(QUALITIES, 0.0) if evaluation.state is State.INFEASIBLE else {}
            values = [_objective(name, evaluation, placeholder) for name in self.study.objectives]
        self.journal.tell(number, values, _slacks(evaluation, self.study), {"row": dict(row)})

    @staticmethod
    def _notes(candidate: Candidate, numbers: Numbers, seed: int, epochs: int) -> dict[str, Any]:
        notes = {"candidate": candidate.to_json(), "id": candidate.id, "seed": seed, "epochs": epochs}
        return {**notes, **({"training": dict(numbers)} if numbers else {}), "attempts": 1, "deaths": 0}


class Search(Phases):
    """The search itself: candidates are asked from the sampler, duplicates and hopeless spaces are dealt with."""

    phase: Phase = "search"

    def __init__(self, study: Study, folder: RunFolder) -> None:
        super().__init__(study, folder, study.name, directions_of(study))
        self._deadline = time.monotonic() + study.search.hours * 3600 if study.search.hours else None
        self._problem = ""
        self._earlier = {row["number"] for row in self.rows()}
        self._first: dict[Identity, int] = {}
        self._indexed = 0

    def _recover(self) -> None:
        super()._recover()
        self._settle_duplicates()  # a duplicate of a finished trial must not stay RUNNING: samplers look at it

    def propose(self) -> Task | Wait | Done:
        """The next task. The search is over at `trials` COMPLETE ones, after `hours`, or where it cannot go on."""
        if self._waiting:
            return self._start(self._waiting.pop(0))
        complete = self.count(State.COMPLETE)
        self._problem = self._problem or self._hopeless()
        late = self._deadline is not None and time.monotonic() > self._deadline
        if complete >= self.study.search.trials or late or self._problem:
            return WAIT if self._running else Done(self._problem)
        if complete + len(self._running) >= self.study.search.trials:
            return WAIT
        return self._draw()

    def _draw(self) -> Task | Wait | Done:
        """Draw until a candidate is new. A sampler that repeats itself is helped out by random draws."""
        while True:
            repeats = self._repeats()
            if repeats >= MAX_REDRAWS:
                if not self._running:
                    self._problem = f"{MAX_REDRAWS} draws in a row were duplicates: the space is exhausted"
                return WAIT if self._running else Done(self._problem)
            task = self._ask("random" if repeats >= RANDOM_AFTER else self.study.search.sampler)
            if task is not None:
                return self._start(task)

    def _repeats(self) -> int:
        """How many of the last trials were duplicates, running back from the newest."""
        count = 0
        for trial in reversed(self.journal.trials()):
            if "duplicate_of" not in trial.user_attrs:
                break
            count += 1
        return count

    def _ask(self, sampler: str) -> Task | None:
        """One draw, recorded; None where it repeats an earlier candidate."""
        search = self.study.search
        number = len(self.journal.trials())
        population = search.population or default_population(search.trials)
        first = self._first_of_each()
        space, compression = self.study.space, self.study.compression
        channels = self.study.data.input_channels

        def draw(trial: optuna.Trial) -> tuple[Candidate, dict[str, float]]:
            candidate = sample(trial, space, compression, input_channels=channels)
            return candidate, ask_numbers(trial, self.study.training)

        def notes(drawn: tuple[Candidate, dict[str, float]]) -> dict[str, Any]:
            own = self._notes(*drawn, search.seed, self.study.search_epochs)
            earlier = first.get(_identity(own))
            return own if earlier is None else {**own, "duplicate_of": earlier}

        number, _ = self.journal.ask(
            make_sampler(sampler, seed=seed_of(search.seed, number), population=population), draw, notes
        )
        if "duplicate_of" not in self.journal.trials()[number].user_attrs:
            return self._task(self.journal.trials()[number])
        self._settle_duplicates()
        return None

    def _first_of_each(self) -> dict[Identity, int]:
        """Candidate and training numbers -> the trial that holds their evaluation, or what was queued for it anew."""
        trials = self.journal.trials()
        for trial in trials[self._indexed :]:
            if "duplicate_of" not in trial.user_attrs:
                self._first[_identity(trial.user_attrs)] = trial.number
        self._indexed = len(trials)
        return self._first

    def finish(self, task: Task, evaluation: Evaluation) -> dict[str, Any]:
        row = super().finish(task, evaluation)
        self._settle_duplicates()
        return row

    def _settle_duplicates(self) -> None:
        """Tell duplicates the values of the trial they repeat, once it is finished."""
        trials = self._look()
        for trial in [trials[number] for number in self._unfinished]:
            if "duplicate_of" not in trial.user_attrs:
                continue
            original = trials[trial.user_attrs["duplicate_of"]]
            if not original.state.is_finished():
                continue
            reason = f"same candidate as trial {original.number}"
            row = {**original.user_attrs["row"], "number": trial.number, "state": State.DUPLICATE, "reason": reason}
            params = {f"params_{gene}": value for gene, value in trial.params.items()}
            row = {key: value for key, value in row.items() if not key.startswith("params_")} | params
            values = original.values if original.state is TrialState.COMPLETE else None
            self.journal.tell(trial.number, values, original.constraints, {"row": row})

    def _hopeless(self) -> str:
        """Why going on is pointless: nearly everything is infeasible, or everything fails."""
        self._look()
        newest = (row for row in reversed(self._rows) if row["state"] != State.DUPLICATE)
        recent = list(islice(newest, INFEASIBLE_WINDOW))[::-1]
        # Failures of an earlier invocation do not count: their cause may have been mended since.
        failed = [row for row in recent if row["number"] not in self._earlier][-FAILURES_IN_A_ROW:]
        if len(failed) == FAILURES_IN_A_ROW and all(row["state"] == State.FAILED for row in failed):
            return f"the last {FAILURES_IN_A_ROW} candidates all failed, the newest with: {failed[-1]['reason']}"
        infeasible = [row for row in recent if row["state"] == State.INFEASIBLE]
        if len(recent) < INFEASIBLE_WINDOW or len(infeasible) < INFEASIBLE_SHARE * INFEASIBLE_WINDOW:
            return ""
        broken = Counter(name for row in infeasible for name in row["violation"])
        name, count = broken.most_common(1)[0]
        limit = self.study.constraints[name].max
        least = min(row[name] for row in infeasible)
        return (
            f"{len(infeasible)} of the last {INFEASIBLE_WINDOW} candidates are infeasible; "
            f"constraints.{name}.max {limit:g} is broken by {count} of them, the least has {least:g}"
        )


class Finalists(Phases):
    """The front of the search, thinned, each member trained anew at full budget with a seed of its own."""

    phase: Phase = "final"

    def __init__(self, study: Study, folder: RunFolder) -> None:
        super().__init__(study, folder, f"{study.name}/final", ["maximize"])

    def choose(self, search: Search) -> None:
        """Enqueue the finalists that are not there yet."""
        known = {_identity(trial.user_attrs) for trial in self.journal.trials()}
        for row in finalists_of(search.rows(), self.study):
            searched = search.journal.trials()[row["number"]].user_attrs
            if _identity(searched) not in known:
                candidate, numbers = Candidate.from_json(searched["candidate"]), searched.get("training", {})
                notes = self._notes(candidate, numbers, self.study.search.seed + 1, self.study.training.epochs)
                number = self.journal.enqueue({**notes, "search_trial": row["number"]})
                self._waiting.append(self._task(self.journal.trials()[number]))

    def propose(self) -> Task | Wait | Done:
        if self._waiting:
            return self._start(self._waiting.pop(0))
        return WAIT if self._running else Done()

    def _row(self, trial: FrozenTrial, evaluation: Evaluation) -> dict[str, Any]:
        return {**super()._row(trial, evaluation), "trial": trial.user_attrs["search_trial"]}

    def _tell(self, number: int, evaluation: Evaluation, row: Mapping[str, Any]) -> None:
        values = None if evaluation.validation is None else [evaluation.validation.accuracy]
        self.journal.tell(number, values, {}, {"row": dict(row)})


def finalists_of(rows: list[dict[str, Any]], study: Study) -> list[dict[str, Any]]:
    """The search's front, thinned greedily by hypervolume to the number of finalists, in the order chosen.

    Where the front is smaller, the next one (of what is left without it) fills up: accuracies are noisy.
    """
    candidates = [row for row in rows if may_stand(row)]
    if not candidates:
        return []
    points = np.array([[as_minimised(name, row[name]) for name in study.objectives] for row in candidates])
    # A little beyond the worst, so that the extremes of every objective count as well.
    reference = points.max(axis=0) + 0.05 * np.maximum(np.ptp(points, axis=0), 1e-9)
    left, chosen = np.arange(len(points)), list[int]()
    while len(left) and len(chosen) < study.search.finalists:
        front = left[non_dominated(points[left])]
        chosen += [int(front[i]) for i in thin(points[front], reference, study.search.finalists - len(chosen))]
        left = np.setdiff1d(left, front)
    return [candidates[i] for i in chosen]


def directions_of(study: Study) -> list[Direction]:
    """Which way each objective is better."""
    return ["maximize" if name in QUALITIES else "minimize" for name in study.objectives]


def may_stand(row: Mapping[str, Any]) -> bool:
    """Whether a row may stand on a front: complete, and its file does what the network does."""
    return row["state"] == State.COMPLETE and "parity" not in row["flags"]


def as_minimised(objective: str, value: float) -> float:
    """An objective on the scale fronts are compared on: error for a quality, the logarithm for costs."""
    return 1 - value if objective in QUALITIES else float(np.log(max(value, 1e-12)))


def default_population(trials: int) -> int:
    """About four generations, neither tiny nor beyond Optuna's default of 50."""
    return min(50, max(8, trials // 4))


def _objective(name: str, evaluation: Evaluation, placeholder: Mapping[str, float]) -> float:
    return placeholder[name] if name in placeholder else evaluation.values((name,))[0]


def _slacks(evaluation: Evaluation, study: Study) -> dict[str, float]:
    """Per constraint how far above its limit the cost is, relative to the limit; zero or less where it is met."""
    if evaluation.measurement is None:
        return {}
    costs = evaluation.measurement.costs(evaluation.target)
    return {name: costs[name] / limit.max - 1 for name, limit in study.constraints.items()}
