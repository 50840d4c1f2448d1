"""The search: candidates are asked from a sampler, duplicates are told what they repeat, and it ends where it must."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from nas.candidates.candidate import Candidate
from nas.objectives import directions_of
from nas.records import UNSTABLE, Evaluation, Phase, State
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import ROW, Identity, TrialNotes, TrialRow, row_in
from nas.samplers.given import Anchored, Replayed
from nas.samplers.named import make_sampler, seed_of
from nas.samplers.pareto import ParetoSampler
from nas.search.anchors import anchors
from nas.search.draws import Draws
from nas.search.driver import WAIT, Done, Driver, Wait
from nas.search.journal import RecordedTrial
from nas.search.modelled import Calibrated, Modelled, grid_of
from nas.study import Study
from nas.tasks import Task

RANDOM_AFTER = 10  # repeats in a row
WINDOW, INFEASIBLE_SHARE = 100, 0.95
FAILURES_IN_A_ROW = 10
LATENCY = "latency_ms"


class Search(Driver):
    """Asks the sampler until enough trials are complete.

    It ends early where time is up, where nothing new is left, or where everything fails or is infeasible. `class_names`
    and `calibrated` are for `sampler: pareto`, as `Modelled` takes them.
    """

    phase: Phase = "search"

    def __init__(
        self, study: Study, folder: RunFolder, *, class_names: Sequence[str] = (), calibrated: Calibrated = ()
    ) -> None:
        super().__init__(study, folder, study.name, directions_of(study.objectives))
        self._class_names, self._calibrated = class_names, calibrated
        self._measured: dict[int, tuple[int, Candidate, float]] = {}
        self._grid = grid_of(study) if study.search.sampler == "grid" else None
        self._deadline = time.monotonic() + study.search.hours * 3600 if study.search.hours else None
        self._problem = ""
        self._anchors, self._draws = anchors(study), Draws(study)
        self._earlier = {row.number for row in self.rows()}
        self._first: dict[Identity, int] = {}
        self._indexed = 0

    def _recover(self) -> None:
        super()._recover()
        self._settle_duplicates()  # a duplicate of a finished trial must not stay RUNNING: samplers look at it

    def propose(self) -> Task | Wait | Done:
        """The next task. The search is over at `trials` COMPLETE ones, after `hours`, or where it cannot go on."""
        failing = self._failing()
        late = self._deadline is not None and time.monotonic() > self._deadline
        if late or failing:
            return WAIT if self._running else Done(failing)
        if self._waiting:  # begun before, or queued again by a user: done, however the others went
            return self._start(self._waiting.pop(0))
        self._problem = self._problem or self._infeasible()
        if self._problem:
            return WAIT if self._running else Done(self._problem)
        complete = self.count(State.COMPLETE)
        if complete >= self.study.search.trials:
            return WAIT if self._running else Done()
        if complete + len(self._running) >= self.study.search.trials:
            return WAIT
        return self._draw()

    def _draw(self) -> Task | Wait | Done:
        """Draw until a candidate is new. A sampler that repeats itself is given one at random, if there is one left."""
        while True:
            values = None
            if self.repeats() >= RANDOM_AFTER:
                values = self._draws.unseen(self.first_of_each(), len(self.journal.trials()))
                if values is None:
                    self._problem = (
                        f"none of {self._draws.attempts} random draws was new after {len(self._first)} different "
                        f"candidates, of {self._draws.ways:,} at most: the space is exhausted"
                    )
                    return WAIT if self._running else Done(self._problem)
            task = self._ask(values)
            if task is not None:
                return self._start(task)

    def repeats(self) -> int:
        """How many of the last trials were duplicates, running back from the newest."""
        count = 0
        for trial in reversed(self.journal.trials()):
            if TrialNotes.from_json(trial.user_attrs).duplicate_of is None:
                break
            count += 1
        return count

    def _ask(self, values: dict[str, Any] | None) -> Task | None:
        """One draw, of these values or what the sampler says, recorded; None where it repeats an earlier candidate."""
        first = self.first_of_each()

        def notes(drawn: tuple[Candidate, dict[str, float]]) -> dict[str, Any]:
            candidate, numbers = drawn
            search = self.study.search
            own = TrialNotes.of(candidate, seed=search.seed, epochs=self.study.search_epochs, training=numbers)
            return replace(own, duplicate_of=first.get(own.identity)).to_json()

        number, _ = self.journal.ask(self._sampler(values), self._draws, notes)
        if self.notes(number).duplicate_of is None:
            return self._task(number)
        self._settle_duplicates()
        return None

    def _sampler(self, values: dict[str, Any] | None) -> BaseSampler:
        """The study's sampler for the next trial, or one that answers with `values` or with an anchor."""
        number, made = len(self.journal.trials()), self._made()
        if values is not None:
            return Replayed(made, values)
        if number < len(self._anchors) and not isinstance(made, ParetoSampler):  # which has anchors of its own
            return Anchored(made, self._anchors[number])
        return made

    def _made(self) -> BaseSampler:
        search, number = self.study.search, len(self.journal.trials())
        if search.sampler == "pareto":
            return self._modelled.sampler(self._latencies())
        if self._grid is not None:
            return self._grid
        population = search.population or default_population(search.trials)
        return make_sampler(search.sampler, seed=seed_of(search.seed, number), population=population)

    @cached_property
    def _modelled(self) -> Modelled:
        return Modelled(self.study, self._class_names, self._calibrated)

    def _latencies(self) -> Iterable[tuple[int, Candidate, float]]:
        """Number, candidate and latency of every trial that was measured undisturbed, infeasible ones too."""
        self._look()
        for row in self._rows:
            own = row.state is not State.DUPLICATE and LATENCY in row.costs and UNSTABLE not in row.flags
            if own and row.number not in self._measured:
                candidate = self.notes(row.number).candidate
                self._measured[row.number] = row.number, candidate, row.costs[LATENCY]
        return self._measured.values()

    def first_of_each(self) -> dict[Identity, int]:
        """Candidate and training numbers -> the trial that holds their evaluation, or the last retry of it."""
        trials = self.journal.trials()
        for trial in trials[self._indexed :]:
            notes = TrialNotes.from_json(trial.user_attrs)
            if notes.duplicate_of is None:
                self._first[notes.identity] = trial.number
        self._indexed = len(trials)
        return self._first

    def finish(self, task: Task, evaluation: Evaluation) -> TrialRow:
        row = super().finish(task, evaluation)
        self._settle_duplicates()
        return row

    def _settle_duplicates(self) -> None:
        """Tell duplicates the values of the trial they repeat, once it is finished."""
        trials = self._look()
        for trial in [trials[number] for number in self._unfinished]:
            repeated = TrialNotes.from_json(trial.user_attrs).duplicate_of
            if repeated is None or not trials[repeated].state.is_finished():
                continue
            original = trials[repeated]
            row = self._row_of_duplicate(trial, original)
            values = original.values if original.state is TrialState.COMPLETE else None
            self.journal.tell(trial.number, values, constraints=original.constraints, notes={ROW: row.to_json()})

    @staticmethod
    def _row_of_duplicate(trial: RecordedTrial, original: RecordedTrial) -> TrialRow:
        """The original's row with the duplicate's number and genes, and without seconds: it was not evaluated."""
        row = row_in(original.user_attrs)
        assert row is not None, f"trial {original.number} is finished and has no row"
        reason = f"same candidate as trial {original.number}"
        return replace(
            row, number=trial.number, state=State.DUPLICATE, reason=reason, seconds=None, params=trial.params
        )

    def _newest(self) -> list[TrialRow]:
        """Rows of the last WINDOW trials, the newest first, without those that only repeat another."""
        self._look()
        return list(islice((row for row in reversed(self._rows) if row.state is not State.DUPLICATE), WINDOW))

    def _failing(self) -> str:
        """Why all recent trials failed, if they did; not those of an earlier `nas run`, whose cause may be gone."""
        own = [row for row in self._newest() if row.number not in self._earlier]
        recent = own[:FAILURES_IN_A_ROW]
        if len(recent) < FAILURES_IN_A_ROW or any(row.state is not State.FAILED for row in recent):
            return ""
        return f"the last {FAILURES_IN_A_ROW} candidates all failed, the newest with: {recent[0].reason}"

    def _infeasible(self) -> str:
        """Which constraint nearly all recent trials break, if there is one."""
        recent = self._newest()
        infeasible = [row for row in recent if row.state is State.INFEASIBLE]
        if len(recent) < WINDOW or len(infeasible) < INFEASIBLE_SHARE * WINDOW:
            return ""
        broken = Counter(name for row in infeasible for name in row.violation)
        name, count = broken.most_common(1)[0]
        limit = self.study.limits[name]
        least = min(row.value(name) for row in infeasible)
        return (
            f"{len(infeasible)} of the last {WINDOW} candidates are infeasible; "
            f"constraints.{name}.max {limit:g} is broken by {count} of them, the least has {least:g}"
        )


def default_population(trials: int) -> int:
    """About four generations, neither tiny nor beyond Optuna's default of 50."""
    return min(50, max(8, trials // 4))
