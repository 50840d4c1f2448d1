"""Objectives and constraints: which way is better, the scale they are compared on, and what may stand on a front."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.records import PARITY, QUALITIES, SIMULATED, State

Points = NDArray[np.float64]

MARGIN = 1.1  # the reference point lies this factor beyond the worst complete trial, so that it too adds something
NOT_RUN = 1.0  # the excess of a latency that its target does not give: as if it were twice its limit
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


def not_run(values: Mapping[str, float], needed: Iterable[str]) -> dict[str, float]:
    """NOT_RUN for each of the `needed` latencies that is not among `values`, which hold the first target's.

    Empty while nothing is measured.
    """
    return {name: NOT_RUN for name in needed if "latency_ms" in values and name not in values}


def runs_on(values: Mapping[str, float], needed: Iterable[str]) -> dict[str, float]:
    """Whether each target of the `needed` latencies runs the file, as constraints that a sampler can learn.

    The same for all trials: -NOT_RUN where it does and NOT_RUN where not; empty while nothing is measured.
    """
    missing = not_run(values, needed)
    told = {name: missing.get(name, -NOT_RUN) for name in needed if "latency_ms" in values}
    return {f"runs@{name.partition('@')[2]}": value for name, value in told.items()}


def limits_words(
    broken: Iterable[str],
    values: Mapping[str, float],
    limits: Mapping[str, float],
    refused: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """What came of the constraints that are broken: `latency_ms 2.63, limit 0.3; accuracy 0.87, limit 0.9`.

    Of a latency without a value: that its target does not run the file, and what it said, `refused` by target.
    """
    return "; ".join(
        f"{name} {_beside(values[name], limits[name])}" if name in values else unrun_words(name, refused)
        for name in broken
    )


def unrun_words(name: str, refused: Mapping[str, str] = MappingProxyType({})) -> str:
    """That the target of a latency does not run the file, and what it said."""
    target = name.partition("@")[2]
    said = f" ({refused[target]})" if target in refused else ""
    return f"{name} was not measured, for target {target} does not run the file as it should{said}"


def _beside(value: float, limit: float) -> str:
    """A value and its limit in as few digits, three at least, as tell them apart."""
    if float(value).is_integer():
        return f"{value:.0f}, limit {limit:.10g}"
    rounded = (f"{value:.{digits}g}" for digits in range(3, 17))
    shown = next((text for text in rounded if float(text) != limit), repr(value))
    return f"{shown}, limit {limit:.10g}"
