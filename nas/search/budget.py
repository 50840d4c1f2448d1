"""How many epochs of training a search has spent or begun, and whether another piece fits (`search.epoch_budget`)."""

from __future__ import annotations

from nas.records import State
from nas.run_folder.rows import TrialNotes, row_in
from nas.search.journal import Journal, RecordedTrial
from nas.search.rungs import SPENT, Rungs, is_paused
from nas.study import Study
from nas.study.search import COPY_SHARE, rung_epochs

NOTHING = (0.0, 0.0)


class EpochBudget:
    """Counts what finished trials have trained, and of what is running the whole piece up to its next rung or its end.

    Copies scored at rungs count: those to come with the most that they may train. What a failed trial had trained since
    its last rung is not known, and does not count.
    """

    def __init__(self, study: Study, journal: Journal, rungs: Rungs) -> None:
        self._study, self._journal, self._rungs = study, journal, rungs
        self._finished: dict[int, float] = {}

    def fits(self, number: int) -> bool:
        """Whether the next piece of this trial's training, or of one that is yet to be drawn, fits."""
        budget = self._study.search.epoch_budget
        if budget is None:
            return True
        trials = self._journal.trials()
        done, _ = trials[number].user_attrs.get(SPENT, NOTHING) if number < len(trials) else NOTHING
        more = self._end(number, self._rungs.reached(number)) - done
        return sum(map(self._committed, trials)) + more <= budget

    def _committed(self, trial: RecordedTrial) -> float:
        if not trial.state.is_finished():
            return self._begun(trial)
        if trial.number not in self._finished:  # a finished trial never changes
            self._finished[trial.number] = _spent(trial)
        return self._finished[trial.number]

    def _begun(self, trial: RecordedTrial) -> float:
        done, copies = trial.user_attrs.get(SPENT, NOTHING)
        if TrialNotes.from_json(trial.user_attrs).duplicate_of is not None:
            return 0.0
        return float(copies + (done if is_paused(trial) else self._end(trial.number, self._rungs.passed(trial.number))))

    def _end(self, number: int, passed: int) -> float:
        """The epochs at which the piece behind so many rungs ends, and those of the copy that is scored there."""
        epochs, rungs = self._study.search_epochs, self._rungs.of(number)
        return epochs if passed >= len(rungs) else rung_epochs(rungs[passed], epochs) + COPY_SHARE * epochs


def _spent(trial: RecordedTrial) -> float:
    """What a finished trial has trained."""
    done, copies = trial.user_attrs.get(SPENT, NOTHING)
    row = row_in(trial.user_attrs)
    if row is None or row.state is State.DUPLICATE:
        return 0.0
    return float(max(row.epochs, done) + copies)
