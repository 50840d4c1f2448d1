"""Objectives and constraints: which way is better, the scale they are compared on, and what may stand on a front."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.records import PARITY, QUALITIES, SIMULATED, State

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
    return state == State.COMPLETE and not {PARITY, SIMULATED} & set(flags)


def slack(name: str, value: float, limit: float) -> float:
    """How far a cost is above its limit, or a quality below, relative to the limit; zero or less where it is met."""
    return 1 - value / limit if name in QUALITIES else value / limit - 1


def slacks(values: Mapping[str, float], limits: Mapping[str, float]) -> dict[str, float]:
    """The slack of every constraint whose value is known."""
    return {name: slack(name, values[name], limit) for name, limit in limits.items() if name in values}


def excesses(values: Mapping[str, float], limits: Mapping[str, float]) -> dict[str, float]:
    """The slacks of the constraints that are broken: by how much, relative to its limit, each is missed."""
    return {name: slack for name, slack in slacks(values, limits).items() if slack > 0}


def limits_words(broken: Iterable[str], values: Mapping[str, float], limits: Mapping[str, float]) -> str:
    """What came of the constraints that are broken: `latency_ms 2.63, limit 0.3; accuracy 0.87, limit 0.9`."""
    return "; ".join(f"{name} {_beside(values[name], limits[name])}" for name in broken)


def _beside(value: float, limit: float) -> str:
    """A value and its limit in as few digits, three at least, as tell them apart."""
    if float(value).is_integer():
        return f"{value:.0f}, limit {limit:.10g}"
    rounded = (f"{value:.{digits}g}" for digits in range(3, 17))
    shown = next((text for text in rounded if float(text) != limit), repr(value))
    return f"{shown}, limit {limit:.10g}"
