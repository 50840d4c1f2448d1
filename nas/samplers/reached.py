"""What a trial has reached on the way: its values at rungs, shares of its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

RUNGS = "halving:rungs"  # the user attribute that holds a trial's values by rung, the keys as repr of its share


class HasAttributes(Protocol):
    """What rung values are read of; Optuna's Trial and FrozenTrial satisfy it."""

    @property
    def user_attrs(self) -> dict[str, Any]: ...


def rung_values(trial: HasAttributes) -> dict[float, list[float]]:
    """A trial's values by rung, in the order of the study's objectives; empty where it has reached none."""
    noted: Mapping[str, Sequence[float]] = trial.user_attrs.get(RUNGS, {})
    return {float(rung): list(values) for rung, values in noted.items()}


def with_rung(trial: HasAttributes, rung: float, values: Sequence[float]) -> dict[str, list[float]]:
    """The attribute RUNGS of a trial that has now reached `rung`."""
    return {**trial.user_attrs.get(RUNGS, {}), repr(float(rung)): [float(value) for value in values]}
