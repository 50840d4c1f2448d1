"""Hypervolume over trials: what the complete trials dominate together, and how it grew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from nas.objectives import beyond_worst
from nas.pareto import hypervolume
from nas.records import QUALITIES, State
from nas.report.tables import Points, disagrees, minimised

SMALLEST_COST = 1e-9  # costs are compared by ratio; a cost of exactly 0 has no logarithm


@dataclass(frozen=True, slots=True)
class Progress:
    """Hypervolume after each complete trial, in the order they finished; `reference` in the files' units."""

    trials: tuple[int, ...]
    values: tuple[float, ...]
    reference: Mapping[str, float]


def progress(
    trials: pd.DataFrame, objectives: Sequence[str], fixed: Mapping[Any, float] = MappingProxyType({})
) -> Progress:
    """A quality counts as a fraction, costs as log10; nothing complete gives an empty curve.

    `fixed` is the reference point the run's study.yaml names; without one it is taken from these trials.
    """
    known = [name for name in objectives if name in trials]
    complete = trials[(trials["state"] == State.COMPLETE) & trials[known].notna().all(axis=1)]
    complete = complete[~disagrees(complete)]
    if complete.empty or len(known) < len(objectives):
        return Progress((), (), {})
    reference = dict(fixed) if fixed else {name: beyond_worst(name, complete[name]) for name in objectives}
    limit = _log_costs(minimised(pd.DataFrame([reference]), objectives), objectives)[0]
    values = growing_hypervolume(_log_costs(minimised(complete, objectives), objectives), limit)
    return Progress(tuple(int(n) for n in complete["number"]), tuple(values), reference)


def _log_costs(points: Points, objectives: Sequence[str]) -> Points:
    columns = [
        points[:, i] if name in QUALITIES else np.log10(np.maximum(points[:, i], SMALLEST_COST))
        for i, name in enumerate(objectives)
    ]
    return np.stack(columns, axis=1)


def growing_hypervolume(points: Points, reference: Points) -> list[float]:
    """Hypervolume of the first 1, 2, ... points, all minimised.

    A point adds its own box less what others already cover of it (WFG, While et al. 2012),
    so each step costs one small hypervolume and a dominated point none.
    """
    front = np.empty((0, points.shape[1]))
    total, values = 0.0, []
    for point in points:
        if not (front <= point).all(axis=1).any():
            own = float(np.prod(np.maximum(reference - point, 0)))
            shared = np.maximum(front, point)
            total += max(0.0, own - (float(hypervolume(shared, reference)) if len(front) else 0.0))
            front = np.vstack([front[~(point <= front).all(axis=1)], point])
        values.append(total)
    return values
