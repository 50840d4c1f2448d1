"""What a user says of a space: how candidates are drawn, and what is known of one before it is evaluated."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from optuna.study import StudyDirection

from nas.samplers.spaces.recording import Params
from nas.samplers.spaces.units import Space

Floats = NDArray[np.float64]
Entry = float | tuple[float, float] | None  # exact | mean and standard deviation | to be learned
Known = float | tuple[float, float]
Scale = Literal["linear", "log"]
Costs = Callable[[Params], Sequence[Entry]]
Constraints = Callable[[Params], Mapping[str, Known]]
Features = Callable[[Params], Sequence[float]]
Priors = Callable[[Params], Sequence[float | None]]


@dataclass(frozen=True)
class Problem:
    """A space and what is computed of its candidates; `None` where nothing is."""

    space: Space
    costs: Costs | None = None
    features: Features | None = None
    constraints: Constraints | None = None
    priors: Priors | None = None


@dataclass(frozen=True)
class Objectives:
    """Which way each objective is better, and the scale on which it is compared. All values here are raw ones."""

    directions: tuple[StudyDirection, ...]
    scales: tuple[Scale, ...]

    @classmethod
    def of(cls, directions: Sequence[StudyDirection], scales: Sequence[Scale] | None) -> Objectives:
        """Raises ValueError where there is not one scale for each objective."""
        linear: list[Scale] = ["linear"] * len(directions)
        given = tuple(linear if scales is None else scales)
        wrong = [scale for scale in given if scale not in ("linear", "log")]
        if wrong or len(given) != len(directions):
            raise ValueError(f"scales: expected {len(directions)} of linear and log, got {list(given)}")
        return cls(tuple(directions), given)

    def __len__(self) -> int:
        return len(self.directions)

    def minimised(self, values: Floats) -> Floats:
        """Raw values (n, m), each on its scale and better when smaller; NaN stays."""
        columns = [
            np.log(np.maximum(values[:, i], SMALLEST)) if scale == "log" else values[:, i].astype(np.float64)
            for i, scale in enumerate(self.scales)
        ]
        return np.column_stack(columns) * self.signs

    @property
    def signs(self) -> Floats:
        """1 where less is better, -1 where more is."""
        return np.array([-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in self.directions])

    def entries(self, entries: Sequence[Entry]) -> list[tuple[float, float]]:
        """Costs of a candidate as means and standard deviations: (NaN, 0) where learned, (cost, 0) where exact.

        Raises ValueError where there is not one entry for each objective, or where one is not a number.
        """
        if not isinstance(entries, Sequence | np.ndarray) or len(entries) != len(self):
            raise ValueError(f"costs: expected {len(self)} entries, one for each objective, got {entries!r}")
        try:
            pairs = [_pair(entry) for entry in entries]
        except (TypeError, ValueError):
            pairs = [(math.nan, math.nan)] * len(entries)
        for entry, (mean, sd) in zip(entries, pairs, strict=True):
            if entry is not None and not (math.isfinite(mean) and sd >= 0):
                wanted = "None, a finite number, or a tuple of a mean and a standard deviation"
                raise ValueError(f"costs: expected each {wanted}, got {entries!r}")
        return pairs


SMALLEST = 1e-300  # a value of exactly 0 has no logarithm


def with_spread(limits: Mapping[str, Known]) -> dict[str, tuple[float, float]]:
    """Constraint values as means and standard deviations.

    Raises ValueError where they are not numbers by name.
    """
    try:
        pairs = {name: _pair(value) for name, value in limits.items()}
    except (AttributeError, TypeError, ValueError):
        pairs = {"": (math.nan, 0.0)}
    if not all(not math.isnan(mean) and sd >= 0 for mean, sd in pairs.values()):
        raise ValueError(f"constraints: expected numbers or (mean, standard deviation) by name, got {limits!r}")
    return pairs


def version_of(function: Any) -> Any:
    """What says whether a function's answers are still those of the last ask; None where it says nothing."""
    return getattr(function, "version", None)


def _pair(entry: Entry) -> tuple[float, float]:
    if entry is None:
        return math.nan, 0.0
    if isinstance(entry, tuple):
        return float(entry[0]), float(entry[1])
    return float(entry), 0.0
