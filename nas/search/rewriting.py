"""The journal once more, with other figures: Optuna does not let a finished trial change, so every trial is copied.

Numbers, parameters, states of samplers and dates stay; rows, values, constraints and what is noted of rungs follow the
evaluations.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from nas.errors import InputError
from nas.records import Evaluation, State
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import ROW, TrialNotes, TrialRow, row_in, row_of
from nas.samplers.reached import RUNGS
from nas.search.collected import Collected
from nas.search.journal import RecordedTrial, attributes_of
from nas.search.journal_file import storage_of, unusable
from nas.search.telling import told_of
from nas.study import Study

Given = Callable[[str], Evaluation | None]  # the new record in an artifact folder, by its name in the run folder


def rewritten(folder: RunFolder, study: Study, given: Given) -> str:
    """The run's journal with the records that are `given`; those that are not stay as they are.

    Raises InputError where a trial of the journal makes no sense.
    """
    before, records = storage_of(folder.journal), Collected()
    storage = JournalStorage(records)
    for known in before.get_all_studies():
        trials = before.get_all_trials(known._study_id, deepcopy=False)
        own = optuna.create_study(storage=storage, study_name=known.study_name, directions=known.directions)
        for key, value in known.user_attrs.items():
            own.set_user_attr(key, value)
        is_search = known.study_name == study.name
        for trial in changed(trials, study, folder, given, is_search=is_search):
            try:
                own.add_trial(trial)
            except ValueError as error:
                what = f"trial {trial.number} of {known.study_name!r}"
                raise InputError(unusable(folder.journal, what, error)) from error
    return records.lines()


def candidates_in(journal: Path) -> dict[str, Mapping[str, Any]]:
    """Every candidate of a journal, by id, as its canonical JSON."""
    storage = storage_of(journal)
    trials = (trial for one in storage.get_all_studies() for trial in storage.get_all_trials(one._study_id, False))
    notes = (TrialNotes.from_json(trial.user_attrs) for trial in trials)
    return {one.id: one.candidate_json for one in notes}


def changed(
    trials: Sequence[RecordedTrial], study: Study, folder: RunFolder, given: Given, *, is_search: bool
) -> list[RecordedTrial]:
    """Trials of one study in the journal as their records say they are."""
    found = [_Changed.of(trial, given) for trial in trials]
    rows = [one.row for one in found if one.row is not None]
    return [one.trial(study, folder, rows, given) if is_search else one.noted() for one in found]


@dataclass(frozen=True)
class _Changed:
    """A trial as it was, its row as it is to be, and its new record; None where it has none."""

    before: RecordedTrial
    row: TrialRow | None
    evaluation: Evaluation | None

    @classmethod
    def of(cls, trial: RecordedTrial, given: Given) -> _Changed:
        row = row_in(trial.user_attrs) if trial.state.is_finished() else None
        # What failed left no figures, and shares its folder with the trial that repeats it.
        evaluation = None if row is None or row.state is State.FAILED else given(row.artifact)
        if row is None or evaluation is None:
            return cls(trial, row, None)
        return cls(trial, with_figures(row, evaluation), evaluation)

    def noted(self) -> RecordedTrial:
        """The trial with its row."""
        if self.row is None or self.evaluation is None:
            return self.before
        trial = copy.copy(self.before)
        trial.user_attrs = {**trial.user_attrs, ROW: self.row.to_json()}
        return trial

    def trial(self, study: Study, folder: RunFolder, rows: Sequence[TrialRow], given: Given) -> RecordedTrial:
        """The trial with its row, what it reached at rungs, and what is told of it."""
        trial = copy.copy(self.noted())
        if RUNGS in trial.user_attrs:
            trial.user_attrs = {**trial.user_attrs, RUNGS: _rungs(trial, study, folder, given)}
        if self.evaluation is None:
            return trial
        told = told_of(self.evaluation, study, lambda: rows)
        others = trial.system_attrs.keys() - attributes_of(trial.constraints).keys()
        kept = {key: value for key, value in trial.system_attrs.items() if key in others}
        trial.system_attrs = {**kept, **attributes_of(told.constraints)}
        without = TrialState.PRUNED if told.pruned else TrialState.FAIL
        trial.state = without if told.values is None else TrialState.COMPLETE
        trial.values = told.values
        return trial


def with_figures(row: TrialRow, evaluation: Evaluation) -> TrialRow:
    """A row with the costs of another record of the same evaluation, and what follows from them."""
    own = row_of(evaluation, number=row.number, artifact=row.artifact, params=row.params)
    row = replace(row, costs=own.costs, flags=own.flags, violation=own.violation)
    return row if row.state is State.DUPLICATE else replace(row, state=own.state, reason=own.reason)


def _rungs(trial: RecordedTrial, study: Study, folder: RunFolder, given: Given) -> dict[str, list[float]]:
    """What a trial reached at its rungs, with the costs that their records have."""
    notes = TrialNotes.from_json(trial.user_attrs)
    artifact = folder.relative(folder.artifact(notes.id, "search", notes.seed, notes.settings))
    noted: Mapping[str, Sequence[float]] = trial.user_attrs[RUNGS]
    found = {}
    for share, values in noted.items():
        record = given(f"{artifact}-r{float(share):g}")
        costs = {} if record is None or record.measurement is None else record.measurement.costs(record.target)
        found[share] = [costs.get(name, value) for name, value in zip(study.objectives, values, strict=True)]
    return found
