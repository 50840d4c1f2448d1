"""The search: candidates are asked from a sampler, duplicates are told what they repeat, and it ends where it must."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from optuna.trial import TrialState

from nas.candidates.candidate import Candidate
from nas.candidates.hyperparameters import Number
from nas.expected_gain import gain_per_hour, relative_gain
from nas.objectives import directions_of
from nas.records import Evaluation, Phase, State
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import ROW, Identity, TrialNotes, TrialRow, row_in
from nas.samplers.pareto import gain_of
from nas.samplers.spaces.recording import GivenTrial
from nas.search.budget import EpochBudget
from nas.search.draws import Draws
from nas.search.driver import WAIT, Done, Driver, Wait
from nas.search.endings import WINDOW, failing, gaining_little, infeasible, spent, trained_in_vain
from nas.search.journal import RecordedTrial
from nas.search.modelled import NOTHING, Calibrated
from nas.search.rungs import Rungs, is_paused, last_rung, write_pruned
from nas.search.sampling import Sampling
from nas.search.suggestions import suggestions
from nas.study import Study
from nas.tasks import Rung, Task, Verdict

RANDOM_AFTER = 10  # repeats in a row
LEAST_IN_VAIN = 10  # trained candidates that miss a quality, before a short search gives up


class Search(Driver):
    """Asks the sampler until enough trials are complete.

    It ends early where time is up or its epochs are spent, where little more is expected, where nothing new is left, or
    where everything fails or is infeasible. `is_over` says that it has come to its end, so that nothing is left to
    continue. `class_names` and `calibrated` are for `sampler: pareto`, as `Sampling` takes them.
    """

    phase: Phase = "search"
    is_search = True

    def __init__(
        self, study: Study, folder: RunFolder, *, class_names: Sequence[str] = (), calibrated: Calibrated = NOTHING
    ) -> None:
        super().__init__(study, folder, study.name, directions_of(study.objectives))
        self.sampling = Sampling(study, folder, class_names, calibrated)
        self._deadline = time.monotonic() + study.search.hours * 3600 if study.search.hours else None
        self._problem, self.budget = "", EpochBudget(study, self.journal, self.rungs)
        self._exhausted, self.is_over = "", False
        self._draws, self._suggestions = Draws(study), suggestions(study, folder)
        self._earlier = {row.number for row in self.rows()}
        self._first: dict[Identity, int] = {}
        self._indexed = 0

    def _recover(self) -> None:
        self.rungs = Rungs(self.study, self.journal)
        super()._recover()
        self._settle_duplicates()  # a duplicate of a finished trial must not stay RUNNING: samplers look at it

    def propose(self) -> Task | Wait | Done:
        """The next task. The search is over at `trials` COMPLETE ones, when its epochs are spent, after `hours`, or
        where it cannot go on.
        """
        broken = self._failing()
        late = self._deadline is not None and time.monotonic() > self._deadline
        if late or broken:
            return WAIT if self._running else Done(broken)
        if (begun := self._begun()) is not None:
            return self._start(begun)
        self._problem = self._problem or self._gaining_little()
        if self._is_enough() or self._problem:
            return self._over()
        if self.count(State.COMPLETE) + self._certain() >= self.study.search.trials:
            return WAIT
        if (promoted := self.rungs.next()) is not None:
            return self._go_on(promoted)
        self._problem = infeasible(self._newest(), self.study.limits) or self._in_vain()
        if self._problem:
            return self._over()
        if self._exhausted:
            return self._give_up()
        return self._draw() if self.budget.fits(len(self.journal.trials())) else self._spent()

    def _begun(self) -> Task | None:
        """What was begun before, or queued again by a user: done, however the others went.

        Once there are enough trials, only where it has no rung before it.
        """
        able = (task for task in self._waiting if not self._is_enough() or self._is_certain(task))
        task = next(able, None)
        if task is not None:
            self._waiting.remove(task)
        return task

    def _is_enough(self) -> bool:
        return self.count(State.COMPLETE) >= self.study.search.trials

    def _is_certain(self, task: Task) -> bool:
        """Whether a task has no rung before it at which it might end."""
        return self.rungs.left(task.number) == 0

    def _certain(self) -> int:
        return sum(self._is_certain(task) for task in self._running.values())

    def _go_on(self, number: int) -> Task | Wait | Done:
        """A paused trial's training goes on, if its next piece still fits into the budget."""
        if not self.budget.fits(number):
            return self._spent()
        self.rungs.let_go(number)
        return self._start(self._task(number))

    def _give_up(self) -> Task | Wait | Done:
        """Nothing new is left: what is paused goes on, however many are better, until there are enough trials."""
        promoted = self.rungs.next(anyone=True)
        if promoted is not None:
            return self._go_on(promoted)
        if not self._running:
            self._problem = self._exhausted
        return WAIT if self._running else self._over()

    def _spent(self) -> Wait | Done:
        """The end of its epochs, once nothing runs any more: what runs may take fewer than were reckoned."""
        if not self._running:
            self._problem = spent(self.study.search.epoch_budget)
        return self._over()

    def _over(self) -> Wait | Done:
        """The end, once nothing runs any more: what is paused then is PRUNED."""
        if self._running:
            return WAIT
        for task in [*map(self._task, self.rungs.paused()), *self._waiting]:
            self.finish(task, write_pruned(task, self.study))
        self._waiting.clear()
        self.is_over = True
        return Done(self._problem)

    def report(self, task: Task, rung: Rung) -> Verdict:
        """At a rung the best go on and others pause. With enough trials complete, what has rungs before it ends."""
        self.rungs.tell(task.number, rung)
        if self._is_certain(task):
            return Verdict.CONTINUE
        if self._is_enough():
            return Verdict.STOP
        if not is_paused(self.journal.trials()[task.number]):  # between rungs, or told before that it goes on
            return Verdict.CONTINUE
        if not self.rungs.goes_on(task.number) or not self._has_room(task):
            return Verdict.PAUSE
        self.rungs.let_go(task.number)
        return Verdict.CONTINUE

    def _has_room(self, task: Task) -> bool:
        """Whether there is need of one more trial at the end, where this is its last rung, and epochs for it."""
        is_needed = self.count(State.COMPLETE) + self._certain() < self.study.search.trials
        return (self.rungs.left(task.number) > 1 or is_needed) and self.budget.fits(task.number)

    def paused(self, task: Task) -> None:
        """The worker of `task` is free; a trial that waits at a rung is proposed again if it is to go on."""
        if is_paused(self.journal.trials()[task.number]):
            self._running.pop(task.number, None)
        else:
            super().paused(task)

    def _is_paused(self, trial: RecordedTrial) -> bool:
        return is_paused(trial)

    def _rungs_of(self, number: int) -> tuple[float, ...]:
        return self.rungs.of(number)

    def _draw(self) -> Task | Wait | Done:
        """Draw until a candidate is new. A sampler that repeats itself is given one at random, if there is one left."""
        while True:
            values = self._suggested()
            if values is None and self.repeats() >= RANDOM_AFTER:
                values = self._draws.unseen(self.first_of_each(), len(self.journal.trials()))
                if values is None:
                    self._exhausted = (
                        f"none of {self._draws.attempts} random draws was new after {len(self._first)} different "
                        f"candidates, of {self._draws.ways:,} at most: the space is exhausted"
                    )
                    return self._give_up()
            task = self._ask(values)
            if task is not None:
                return self._start(task)

    def _suggested(self) -> dict[str, Any] | None:
        """The genes of the first suggestion that is no trial yet, once the anchors are; None where there is none."""
        if not self._suggestions or len(self.journal.trials()) < self.sampling.anchored:
            return None
        seen = self.first_of_each()
        return next(
            (values for values in self._suggestions if self._draws.as_record(GivenTrial(values)) not in seen), None
        )

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

        def notes(drawn: tuple[Candidate, dict[str, Number]]) -> dict[str, Any]:
            candidate, numbers = drawn
            search = self.study.search
            own = TrialNotes.of(candidate, seed=search.seed, epochs=self.study.search_epochs, training=numbers)
            return replace(own, duplicate_of=first.get(own.identity)).to_json()

        sampler = self.sampling.next(len(self.journal.trials()), self.rows(), self.notes, values)
        number, _ = self.journal.ask(sampler, self._draws, notes)
        if self.notes(number).duplicate_of is None:
            return self._task(number)
        self._settle_duplicates()
        return None

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
            pruned = original.state is TrialState.PRUNED
            self.journal.tell(
                trial.number, values, constraints=original.constraints, notes={ROW: row.to_json()}, pruned=pruned
            )

    @staticmethod
    def _row_of_duplicate(trial: RecordedTrial, original: RecordedTrial) -> TrialRow:
        """The original's row with the duplicate's number and genes, and without seconds: it was not evaluated."""
        row = row_in(original.user_attrs)
        assert row is not None, f"trial {original.number} is finished and has no row"
        reason = f"same candidate as trial {original.number}"
        return replace(
            row,
            number=trial.number,
            state=State.DUPLICATE,
            reason=reason,
            seconds=None,
            expected_gain=None,
            params=trial.params,
        )

    def _row(self, task: Task, evaluation: Evaluation) -> TrialRow:
        trial = self.journal.trials()[task.number]
        gain = relative_gain(gain_of(trial))
        return replace(super()._row(task, evaluation), expected_gain=gain, rung=last_rung(trial))

    def gain_per_hour(self) -> float | None:
        """By what share the hypervolume is expected to grow per further hour; None where the sampler does not say."""
        if all(row.expected_gain is None for row in self._newest()):
            return None  # a sampler without a model: no need to look at every row
        rows = [row for row in self.rows() if row.state is not State.DUPLICATE]
        gains, seconds = [row.expected_gain for row in rows], [row.seconds for row in rows]
        return gain_per_hour(gains, seconds, workers=self.study.search.worker_count)

    def _gaining_little(self) -> str:
        """That little more is expected; reckoned only where the study asks, since `propose` is polled."""
        least = self.study.search.stop_when_gain_below
        return "" if least is None else gaining_little(self.gain_per_hour(), least)

    def _newest(self) -> list[TrialRow]:
        """Rows of the last trials, the newest first, without those that only repeat another."""
        self._look()
        return list(islice((row for row in reversed(self._rows) if row.state is not State.DUPLICATE), WINDOW))

    def _in_vain(self) -> str:
        """That as many were trained in vain as are to be completed: a quality no network has costs twice at most."""
        if self.study.limits == self.study.cost_limits:
            return ""
        return trained_in_vain(self._rows, self.study.limits, max(LEAST_IN_VAIN, self.study.search.trials))

    def _failing(self) -> str:
        """Why nothing works; failures of an earlier `nas run`, whose cause may be gone, do not count."""
        return failing([row for row in self._newest() if row.number not in self._earlier])
