"""The trials of a study, sorted by what they say: told, infeasible, running, stopped early."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from nas.samplers.reached import rung_values
from nas.samplers.spaces.decoding import Decoded

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Entrant:
    """A trial and the candidate it is of."""

    trial: FrozenTrial
    candidate: Decoded

    @property
    def number(self) -> int:
        return int(self.trial.number)

    @cached_property
    def constraints(self) -> dict[str, float]:
        """What the trial was told of constraints, by name."""
        return dict(self.trial.constraints)

    @cached_property
    def rungs(self) -> dict[float, list[float]]:
        """Scores before the end: share of the budget -> values in the study's order."""
        return rung_values(self.trial)


@dataclass
class History:
    """A study's trials in order of number. A candidate told again, a duplicate, counts once."""

    told: list[Entrant] = field(default_factory=list)  # complete and feasible
    infeasible: list[Entrant] = field(default_factory=list)  # complete; their values may stand for what nobody knows
    running: list[Entrant] = field(default_factory=list)
    stopped: list[Entrant] = field(default_factory=list)  # pruned, failed, or told an infinite value
    seen: set[Hashable] = field(default_factory=set)

    @cached_property
    def values(self) -> Floats:
        """Raw values of what was told, (n, m)."""
        return np.array([entrant.trial.values for entrant in self.told], dtype=np.float64)

    def place_of(self, entrant: Entrant) -> list[Entrant]:
        """Where a complete trial belongs. Optuna takes infinity for a value; no model can."""
        if any(value > 0 for value in entrant.constraints.values()):
            return self.infeasible
        return self.told if np.isfinite(entrant.trial.values).all() else self.stopped


def read(
    trials: Sequence[FrozenTrial],
    given: Callable[[Mapping[str, Any]], Decoded | None],
    *,
    chosen: Mapping[int, Mapping[str, Any]],
    finished: dict[int, Entrant] | None = None,
    renewed: Callable[[Decoded], Decoded] = lambda candidate: candidate,
) -> History:
    """Sort trials by what they say. `given` decodes parameters.

    `chosen` has the parameters of running trials that have not been asked for all of theirs yet. `finished` keeps what
    was read of finished trials, by number, from ask to ask; their candidates are `renewed`.
    """
    history, kept = History(), {} if finished is None else finished
    counted: set[Hashable] = set()
    for trial in trials:
        if trial.state is TrialState.WAITING:
            continue
        entrant = _kept(kept.get(trial.number), trial, renewed) or _entrant(trial, given, chosen)
        if entrant is None:
            continue
        if trial.state.is_finished():
            kept[trial.number] = entrant
        history.seen.add(entrant.candidate.key)
        if trial.state is not TrialState.COMPLETE:
            place = history.running if trial.state is TrialState.RUNNING else history.stopped
            place.append(entrant)
        elif entrant.candidate.key not in counted:
            ranks = history.place_of(entrant)
            ranks.append(entrant)
            if ranks is not history.stopped:
                counted.add(entrant.candidate.key)
    return history


def _kept(entrant: Entrant | None, trial: FrozenTrial, renewed: Callable[[Decoded], Decoded]) -> Entrant | None:
    """What was read of this very trial before, its candidate as models see it now."""
    if entrant is None or entrant.trial is not trial:
        return None
    candidate = renewed(entrant.candidate)
    return entrant if candidate is entrant.candidate else Entrant(trial, candidate)


def _entrant(
    trial: FrozenTrial,
    given: Callable[[Mapping[str, Any]], Decoded | None],
    chosen: Mapping[int, Mapping[str, Any]],
) -> Entrant | None:
    """A trial and its candidate; None where it has no parameters, or none of this space."""
    params = trial.params
    if trial.state is TrialState.RUNNING and trial.number in chosen:
        params = {**chosen[trial.number], **params}
    candidate = given(params) if params else None
    return None if candidate is None else Entrant(trial, candidate)
