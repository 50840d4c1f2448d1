"""The journal: an Optuna study on disk, sampled against a copy in memory, so that an ask costs one record.

Plain ask and suggest would sync the file once per gene. Here a candidate is sampled in memory and then written as one
RUNNING trial; results are told to both. Stock Optuna opens the file.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.errors import InputError
from nas.search.common import Common, same
from nas.search.journal_file import storage_of, unusable

T = TypeVar("T")
Direction = Literal["minimize", "maximize"]
RecordedTrial = FrozenTrial
SAMPLER_STATE = "sampler_state"
GENERATION = ":generation"  # how the keys end under which Optuna's genetic samplers note a trial's generation
optuna.logging.set_verbosity(logging.WARNING)


def attributes_of(constraints: Mapping[str, float]) -> dict[str, Any]:
    """Constraints as Optuna keeps them among the system attributes of a trial."""
    scratch = optuna.trial.create_trial(state=TrialState.FAIL)
    for name, value in constraints.items():
        scratch.set_constraint(name, value)
    return scratch.system_attrs


def _shell(trial: FrozenTrial) -> FrozenTrial:
    """A trial without what is large and shared afterwards: a storage copies whatever it is given."""
    shell = copy.copy(trial)
    shell.params, shell.distributions, shell.user_attrs = {}, {}, {}
    return shell


class Journal:
    """One Optuna study in the journal file, and its copy in memory. A single process writes.

    One `beside` another of the same file shares what was read of it: reading takes seconds where trials are many.
    """

    def __init__(
        self, file: Path, name: str, directions: Sequence[Direction], *, beside: Journal | None = None
    ) -> None:
        self._storage: JournalStorage = storage_of(file) if beside is None else beside._storage
        self._study = optuna.create_study(
            storage=self._storage, study_name=name, directions=list(directions), load_if_exists=True
        )
        self._memory = InMemoryStorage()
        self._copy = optuna.create_study(storage=self._memory, study_name=name, directions=list(directions))
        self._copy_id = self._memory.get_study_id_from_name(name)
        self._study_id = self._storage.get_study_id_from_name(name)
        self._common = Common()
        for trial in self._study.get_trials(deepcopy=False):
            self._common.keep_once(trial)
            try:
                trial._validate()  # all of it: the shell lacks what may not fit together
                self._copy.add_trial(_shell(trial))
            except ValueError as error:  # its records can be replayed, and do not fit together
                raise InputError(unusable(file, f"trial {trial.number} of {name!r}", error)) from error
            self._share(trial.number)
        self._sampler_state: dict[str, Any] = self._study.user_attrs.get(SAMPLER_STATE, {})
        for key, value in self._sampler_state.items():
            self._memory.set_study_system_attr(self._copy_id, key, value)

    def trials(self) -> list[FrozenTrial]:
        """Every trial, in order of number; not a copy."""
        return self._copy.get_trials(deepcopy=False)

    @property
    def directions(self) -> list[StudyDirection]:
        """Which way each objective is better."""
        return self._copy.directions

    def ask(
        self,
        sampler: optuna.samplers.BaseSampler,
        draw: Callable[[optuna.Trial], T],
        notes: Callable[[T], Mapping[str, Any]],
    ) -> tuple[int, T]:
        """Draw with `sampler`, write the result as one RUNNING trial with its notes, return its number."""
        self._copy.sampler = sampler
        trial = self._copy.ask()
        drawn = draw(trial)
        for key, value in notes(drawn).items():
            trial.set_user_attr(key, value)
        self._write_sampler_state()
        self._study.add_trial(self.trials()[trial.number])
        return trial.number, drawn

    def enqueue(self, notes: Mapping[str, Any], *, like: int | None = None) -> int:
        """Write a RUNNING trial that was not sampled, a finalist say; returns its number.

        `like` names a trial whose parameters it takes over, and its generation, without which NSGA would not see it.
        """
        copied: dict[str, Any] = {}
        if like is not None:
            model = self.trials()[like]
            attributes = {key: v for key, v in model.system_attrs.items() if key.endswith(GENERATION)}
            copied = {"params": model.params, "distributions": model.distributions, "system_attrs": attributes}
        trial = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs=dict(notes), **copied)
        self._copy.add_trial(trial)
        self._study.add_trial(trial)
        return len(self.trials()) - 1

    def note(self, number: int, key: str, value: Any) -> None:
        """Set a user attribute of an unfinished trial."""
        for storage, trial_id in self._both(number):
            storage.set_trial_user_attr(trial_id, key, value)

    def tell(
        self,
        number: int,
        values: Sequence[float] | None,
        *,
        notes: Mapping[str, Any],
        constraints: Mapping[str, float] = MappingProxyType({}),
        pruned: bool = False,
    ) -> None:
        """Finish a trial: COMPLETE with values, FAIL or PRUNED without; constraints are met where zero or less."""
        without = TrialState.PRUNED if pruned else TrialState.FAIL
        state = without if values is None else TrialState.COMPLETE
        for storage, trial_id in self._both(number):
            for key, value in notes.items():
                storage.set_trial_user_attr(trial_id, key, value)
            for key, value in attributes_of(constraints).items():
                storage.set_trial_system_attr(trial_id, key, value)
            storage.set_trial_state_values(trial_id, state, values)
        self._common.keep_once(self._recorded(number))
        self._share(number)

    def _recorded(self, number: int) -> FrozenTrial:
        """A trial as the file's storage holds it; not a copy."""
        return self._storage.get_trial(self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number))

    def _share(self, number: int) -> None:
        """Have the copy in memory hold what the file's storage holds."""
        same(self.trials()[number], self._recorded(number))

    def _both(self, number: int) -> list[tuple[BaseStorage, int]]:
        """The file and the memory, each with its own id of a trial."""
        places = ((self._storage, self._study_id), (self._memory, self._copy_id))
        return [(s, s.get_trial_id_from_study_id_trial_number(study, number)) for s, study in places]

    def _write_sampler_state(self) -> None:
        """Keep what samplers remember between asks (NSGA's parents), so that a restart changes nothing."""
        state = self._memory.get_study_system_attrs(self._copy_id)
        kept = {key: value for key, value in state.items() if not key.startswith("study:")}
        if kept != self._sampler_state:
            self._study.set_user_attr(SAMPLER_STATE, kept)
            self._sampler_state = kept
