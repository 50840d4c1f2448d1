"""The trials of a study, sorted by what they say: told, infeasible, running, stopped early."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from nas.samplers.decoding import Decoded

Floats = NDArray[np.float64]

RUNGS = "halving:rungs"  # user attribute: share of the budget, as text -> values in the study's order


@dataclass(frozen=True)
class Entrant:
    """A trial and the candidate it is of."""

    trial: FrozenTrial
    candidate: Decoded

    @property
    def number(self) -> int:
        return int(self.trial.number)


@dataclass
class History:
    """A study's trials in order of number. A candidate told again, a duplicate, counts once."""

    told: list[Entrant] = field(default_factory=list)  # complete and feasible
    infeasible: list[Entrant] = field(default_factory=list)  # complete; their values may stand for what nobody knows
    running: list[Entrant] = field(default_factory=list)
    stopped: list[Entrant] = field(default_factory=list)  # pruned or failed
    seen: set[Hashable] = field(default_factory=set)

    @property
    def values(self) -> Floats:
        """Raw values of what was told, (n, m)."""
        return np.array([entrant.trial.values for entrant in self.told], dtype=np.float64)


def read(
    trials: Sequence[FrozenTrial],
    given: Callable[[Mapping[str, Any]], Decoded | None],
    *,
    chosen: Mapping[int, Mapping[str, Any]],
) -> History:
    """Sort trials by what they say. `given` decodes parameters.

    `chosen` has the parameters of running trials that have not been asked for all of theirs yet.
    """
    history = History()
    counted: set[Hashable] = set()
    for trial in trials:
        if trial.state is TrialState.WAITING:
            continue
        params = trial.params
        if trial.state is TrialState.RUNNING and trial.number in chosen:
            params = {**chosen[trial.number], **params}
        candidate = given(params) if params else None
        if candidate is None:
            continue
        history.seen.add(candidate.key)
        if trial.state is not TrialState.COMPLETE:
            place = history.running if trial.state is TrialState.RUNNING else history.stopped
            place.append(Entrant(trial, candidate))
        elif candidate.key not in counted:
            counted.add(candidate.key)
            is_feasible = all(value <= 0 for value in trial.constraints.values())
            (history.told if is_feasible else history.infeasible).append(Entrant(trial, candidate))
    return history


def rungs_of(trial: FrozenTrial) -> dict[float, list[float]]:
    """Scores of a trial before its end: share of the budget -> values in the study's order."""
    return {float(share): list(values) for share, values in trial.user_attrs.get(RUNGS, {}).items()}
