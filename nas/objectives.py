"""Objectives and constraints: which way is better, the scale they are compared on, and what may stand on a front."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.records import PARITY, QUALITIES, State

Points = NDArray[np.float64]

MARGIN = 1.1  # the reference point lies this factor beyond the worst complete trial, so that it too adds something
SMALLEST_COST = 1e-12  # costs are compared by ratio; a cost of exactly 0 has no logarithm


def beyond_worst(name: str, values: Iterable[float]) -> float:
    """The worst value of an objective, a little worse still."""
    return float(min(values)) / MARGIN if name in QUALITIES else float(max(values)) * MARGIN


def directions_of(objectives: Sequence[str]) -> list[Literal["minimize", "maximize"]]:
    """Which way each objective is better."""
    return ["maximize" if name in QUALITIES else "minimize" for name in objectives]


def as_minimised(objective: str, values: ArrayLike) -> Points:
    """Values of one objective on the scale they are compared on: error for a quality, log10 for a cost."""
    array = np.asarray(values, dtype=np.float64)
    scaled: Points = 1 - array if objective in QUALITIES else np.log10(np.maximum(array, SMALLEST_COST))
    return scaled


def minimised(values: ArrayLike, objectives: Sequence[str]) -> Points:
    """Values (n, m) of m objectives as points (n, m) that are all better when smaller."""
    array = np.asarray(values, dtype=np.float64).reshape(-1, len(objectives))
    return np.column_stack([as_minimised(name, array[:, column]) for column, name in enumerate(objectives)])


def may_stand(state: str, flags: Collection[str]) -> bool:
    """Whether an evaluation may stand on a front: complete, and its file does what the network does."""
    return state == State.COMPLETE and PARITY not in flags


def slacks(costs: Mapping[str, float], limits: Mapping[str, float]) -> dict[str, float]:
    """Per constraint how far above its limit the cost is, relative to the limit; zero or less where it is met."""
    return {name: costs[name] / limit - 1 for name, limit in limits.items()}


def excesses(costs: Mapping[str, float], limits: Mapping[str, float]) -> dict[str, float]:
    """The slacks of the constraints that are broken: by how much, relative to its limit, each is exceeded."""
    return {name: slack for name, slack in slacks(costs, limits).items() if slack > 0}
