"""Hypervolume over trials: what the complete trials dominate together, and how it grew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from nas.objectives import Points, beyond_worst, minimised
from nas.pareto import hypervolume
from nas.report.tables import stands


@dataclass(frozen=True, slots=True)
class Progress:
    """Hypervolume after each complete trial, in the order they finished; the point in the files' units."""

    trials: tuple[int, ...]
    values: tuple[float, ...]
    reference_point: Mapping[str, float]


def progress(
    trials: pd.DataFrame, objectives: Sequence[str], fixed: Mapping[Any, float] = MappingProxyType({})
) -> Progress:
    """A quality counts as a fraction, costs as log10; nothing complete gives an empty curve.

    `fixed` is the reference point the run's study.yaml names; without one it is taken from these trials.
    """
    known = [name for name in objectives if name in trials]
    able = trials[stands(trials) & trials[known].notna().all(axis=1)]
    if able.empty or len(known) < len(objectives):
        return Progress((), (), {})
    point = dict(fixed) if fixed else {name: beyond_worst(name, able[name]) for name in objectives}
    limit = minimised([point[name] for name in objectives], objectives)[0]
    values = growing_hypervolume(minimised(able[list(objectives)].to_numpy(dtype="float64"), objectives), limit)
    return Progress(tuple(int(n) for n in able["number"]), tuple(values), point)


def growing_hypervolume(points: Points, reference_point: Points) -> list[float]:
    """Hypervolume of the first 1, 2, ... points, all minimised.

    A point adds its own box less what others already cover of it (WFG, While et al. 2012),
    so each step costs one small hypervolume and a dominated point none.
    """
    front = np.empty((0, points.shape[1]))
    total, values = 0.0, []
    for point in points:
        if not (front <= point).all(axis=1).any():
            own = float(np.prod(np.maximum(reference_point - point, 0)))
            shared = np.maximum(front, point)
            total += max(0.0, own - (float(hypervolume(shared, reference_point)) if len(front) else 0.0))
            front = np.vstack([front[~(point <= front).all(axis=1)], point])
        values.append(total)
    return values
