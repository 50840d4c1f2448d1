"""The box in which hypervolume counts: from the ideal, 0, to the reference point, 1, in every objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.study import StudyDirection

from nas.pareto import non_dominated
from nas.samplers.spaces.problem import Objectives

Floats = NDArray[np.float64]

BEYOND = 0.1  # of the range: how far an inferred reference point lies beyond the front, and an inferred ideal before it
DEAREST = 99.0  # percentile of an exact cost in a sample of the space that still counts
OFFSET = 0.05  # in units of the box, so that the logarithm of the ideal is finite
FULL = 1.0, 100.0  # the best that a quality can be: a share, or per cent


@dataclass(frozen=True)
class Box:
    """Affine scales: `ideal` becomes 0 and `reference` 1. Both are of minimised values, shape (m,).

    `natural` says where the ideal is one that nothing can pass, as 0 is of an error: there ratios are what compares.
    """

    ideal: Floats
    reference: Floats
    natural: NDArray[np.bool_]

    def scaled(self, minimised: Floats) -> Floats:
        """Minimised values (n, m) in units of the box."""
        array: Floats = (minimised - self.ideal) / (self.reference - self.ideal)
        return array


def box_of(told: Floats, sample: Floats, reference: Sequence[float | None] | None, objectives: Objectives) -> Box:
    """The box for what is known: `told` (n, m) are finished candidates, raw, and `sample` (s, m) random ones.

    Columns of `sample` that are NaN are learned objectives. Where no reference point is given, an exact cost counts
    up to what nearly all candidates have; a learned objective up to the worst of the front, and a tenth further.
    """
    known, drawn = objectives.minimised(told), objectives.minimised(sample)
    exact = np.array(np.isfinite(sample).all(axis=0), dtype=np.bool_)
    worst_told = _worst_of_front(known) if len(told) else np.full(len(objectives), -np.inf)
    best = np.min(np.vstack([known, np.where(exact, drawn, np.inf)]), axis=0, initial=np.inf)
    best = np.where(np.isfinite(best), best, 0.0)
    margin = np.where(exact, 0.0, BEYOND * (worst_told - best))
    dearest = np.where(exact, np.percentile(np.where(exact, drawn, 0.0), DEAREST, axis=0), -np.inf)
    worst = np.maximum(worst_told + margin, dearest)
    if reference is not None:
        given = np.array([np.nan if value is None else value for value in reference], dtype=np.float64)
        if given.shape != worst.shape:
            raise ValueError(f"reference_point: expected {len(worst)} entries, got {list(reference)}")
        worst = np.where(np.isnan(given), worst, objectives.minimised(given[None])[0])
    worst = np.where(np.isfinite(worst), worst, best + 1.0)
    bounds = np.array([_bound(told[:, i], i, objectives) if not exact[i] else np.nan for i in range(len(objectives))])
    natural = ~np.isnan(bounds) & (bounds < worst)
    span = np.where(worst > best, worst - best, np.maximum(1e-9, np.abs(worst)))
    inferred = worst - span * np.where(exact, 1.0, 1 + BEYOND)
    return Box(np.where(natural, bounds, inferred), worst, natural)


def leading(points: Floats) -> list[int]:
    """Places of the points, in units of the box, that no other dominates and that lie inside; all where none does."""
    inside = np.flatnonzero(np.all(points < 1, axis=1))
    return inside[non_dominated(points[inside])].tolist() if len(inside) else list(range(len(points)))


def _bound(values: Floats, i: int, objectives: Objectives) -> float:
    """The minimised value that a learned objective cannot pass, as far as its raw values say; NaN where there is none.

    A positive quantity that is minimised, such as an error, ends at 0; a share or percentage that is maximised at 1 or
    100.
    """
    if objectives.scales[i] == "log" or not len(values) or values.min() < 0:
        return np.nan
    if objectives.directions[i] != StudyDirection.MAXIMIZE:
        return 0.0
    return next((-full for full in FULL if values.max() <= full), np.nan)


def _worst_of_front(told: Floats) -> Floats:
    """The worst of each objective on the front, or the median, where that is worse: a front may be a few points.

    In a single objective the worst of all: what lies beyond the reference point is not told apart.
    """
    worst: Floats = told.max(axis=0)
    if told.shape[1] == 1:
        return worst
    nadir: Floats = told[non_dominated(told)].max(axis=0)
    return np.maximum(nadir, np.median(told, axis=0))
