"""The journal's studies copied into another Optuna storage, trial by trial, from whatever is there already.

What was copied is seen in the storage itself, so that a copy that ended anywhere goes on: a trial that is finished
there is whole, since a trial's state is written last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from nas.search.replay import JournalReader, Replay

RUN = "compact_nas_run"  # the user attribute by which a copied study names its journal
UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


def run_of(journal: Path) -> str:
    """What tells a journal from that of any other run: its first record names the process that made it."""
    with journal.open("rb") as file:
        return hashlib.sha256(file.readline()).hexdigest()[:12]


@dataclass
class CopiedStudy:
    """A study in the storage: its id there, how many trials it has, and the unfinished ones as they stand there."""

    study_id: int
    count: int
    unfinished: dict[int, tuple[int, FrozenTrial]] = field(default_factory=dict)


class Copying:
    """Brings a storage up to a journal; it lasts as long as the connection, and begins at the journal's beginning.

    A study has its own name there, or, where another run has taken it, that name and the beginning of this run's id.
    """

    def __init__(self, storage: BaseStorage, journal: Path) -> None:
        self._storage, self._reader, self._replay = storage, JournalReader(journal), Replay()
        self._run = run_of(journal)
        self._copied: dict[int, CopiedStudy] = {}
        self._suffix: str | None = None

    def go_on(self, stopped: Callable[[], bool]) -> None:
        """Copy all records that are there now, or until `stopped`."""
        for records in self._reader.records():
            for record in records:
                self._replay.apply(record)
            for number in sorted(self._replay.changed_studies):
                self._copy_attributes(number)
            for trial_id in sorted(self._replay.changed_trials):
                if stopped():
                    return
                self._copy_trial(trial_id)

    def _copy_attributes(self, number: int) -> None:
        study, found = self._replay.studies[number], self._study(number)
        for key, value in study.user_attrs.items():
            self._storage.set_study_user_attr(found.study_id, key, value)
        for key, value in study.system_attrs.items():
            self._storage.set_study_system_attr(found.study_id, key, value)
        self._replay.changed_studies.discard(number)

    def _copy_trial(self, trial_id: int) -> None:
        trial = self._replay.trials[trial_id]
        study = self._study(self._replay.study_of[trial_id])
        if trial.number >= study.count:
            own = self._storage.create_new_trial(study.study_id, template_trial=trial)
            study.count += 1
            study.unfinished[trial.number] = own, copy(trial)
        elif trial.number in study.unfinished:
            own, before = study.unfinished[trial.number]
            _update(self._storage, own, before, trial)
            study.unfinished[trial.number] = own, copy(trial)
        self._replay.changed_trials.discard(trial_id)
        if trial.state.is_finished():
            study.unfinished.pop(trial.number, None)
            self._replay.forget(trial_id)

    def _study(self, number: int) -> CopiedStudy:
        if number not in self._copied:
            study = self._replay.studies[number]
            self._copied[number] = self._found(study.name) or self._made(number)
        return self._copied[number]

    def _made(self, number: int) -> CopiedStudy:
        study = self._replay.studies[number]
        study_id = self._storage.create_new_study(study.directions, self._name(study.name))
        self._storage.set_study_user_attr(study_id, RUN, self._run)
        return CopiedStudy(study_id, 0)

    def _found(self, name: str) -> CopiedStudy | None:
        study_id = _id_of(self._storage, self._name(name))
        if study_id is None:
            return None
        self._storage.set_study_user_attr(study_id, RUN, self._run)
        trials = self._storage.get_all_trials(study_id, deepcopy=False, states=UNFINISHED)
        unfinished = {trial.number: (trial._trial_id, trial) for trial in trials}
        return CopiedStudy(study_id, count_trials(self._storage, study_id), unfinished)

    def _name(self, name: str) -> str:
        """The name in the storage of a study of the journal, `digits/final` say; the run's first study decides."""
        base, slash, phase = name.partition("/")
        if self._suffix is None:
            self._suffix = "" if self._is_free(base) else f"-{self._run[:6]}"
        return f"{base}{self._suffix}{slash}{phase}"

    def _is_free(self, name: str) -> bool:
        """Whether there is no such study, or one of this run, or one that was only just begun."""
        study_id = _id_of(self._storage, name)
        if study_id is None:
            return True
        owner = self._storage.get_study_user_attrs(study_id).get(RUN)
        return owner == self._run or (owner is None and not count_trials(self._storage, study_id))


def count_trials(storage: BaseStorage, study_id: int) -> int:
    """How many trials a study has. Storages would load them all to count them; numbers have no gaps."""
    low, high = 0, 1
    while _has(storage, study_id, high - 1):
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if _has(storage, study_id, middle) else (low, middle)
    return low


def _has(storage: BaseStorage, study_id: int, number: int) -> bool:
    try:
        storage.get_trial_id_from_study_id_trial_number(study_id, number)
    except KeyError:
        return False
    return True


def _id_of(storage: BaseStorage, name: str) -> int | None:
    try:
        return storage.get_study_id_from_name(name)
    except KeyError:
        return None


def _update(storage: BaseStorage, trial_id: int, before: FrozenTrial, now: FrozenTrial) -> None:
    """Write what differs, the state last."""
    for key, value in _new(before.user_attrs, now.user_attrs):
        storage.set_trial_user_attr(trial_id, key, value)
    for key, value in _new(before.system_attrs, now.system_attrs):
        storage.set_trial_system_attr(trial_id, key, value)
    for step, value in _new(before.intermediate_values, now.intermediate_values):
        storage.set_trial_intermediate_value(trial_id, step, value)
    for name, value in _new(before.params, now.params):
        distribution = now.distributions[name]
        storage.set_trial_param(trial_id, name, distribution.to_internal_repr(value), distribution)
    if before.state != now.state:
        storage.set_trial_state_values(trial_id, now.state, now.values)


def _new(before: Mapping[Any, Any], now: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    return [(key, value) for key, value in now.items() if key not in before or before[key] != value]
