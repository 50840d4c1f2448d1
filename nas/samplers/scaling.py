"""The box in which hypervolume counts: from the ideal, 0, to the reference point, 1, in every objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.pareto import non_dominated
from nas.samplers.problem import Objectives

Floats = NDArray[np.float64]

BEYOND = 0.1  # of the range: how far an inferred reference point lies beyond the front, and an ideal beyond the best
DEAREST = 99.0  # percentile of an exact cost in a sample of the space that still counts


@dataclass(frozen=True)
class Box:
    """Affine scales: `ideal` becomes 0 and `reference` 1. Both are of minimised values, shape (m,)."""

    ideal: Floats
    reference: Floats

    def scaled(self, minimised: Floats) -> Floats:
        """Minimised values (n, m) in units of the box."""
        array: Floats = (minimised - self.ideal) / (self.reference - self.ideal)
        return array


def box_of(told: Floats, sample: Floats, reference: Sequence[float | None] | None, objectives: Objectives) -> Box:
    """The box for what is known: `told` (n, m) are finished candidates, `sample` (s, m) random ones, both minimised.

    Columns of `sample` that are NaN are learned objectives. Where no reference point is given, an exact cost counts
    up to what nearly all candidates have; a learned objective up to the worst of the front, and a tenth further.
    """
    exact = np.array(np.isfinite(sample).all(axis=0), dtype=np.bool_)
    seen = np.vstack([told, sample]) if exact.any() else told
    ideal, worst = np.zeros(told.shape[1]), np.ones(told.shape[1])
    for i in range(told.shape[1]):
        if exact[i]:
            ideal[i] = seen[:, i].min()
            worst[i] = max(np.percentile(sample[:, i], DEAREST), _worst_of_front(told)[i] if len(told) else -np.inf)
        elif len(told):
            ideal[i], worst[i] = told[:, i].min(), _worst_of_front(told)[i]
            worst[i] += BEYOND * (worst[i] - ideal[i])
    if reference is not None:
        given = np.array([np.nan if value is None else value for value in reference], dtype=np.float64)
        fixed = objectives.minimised(given[None])[0]
        worst = np.where(np.isnan(given), worst, fixed)
    span = np.where(worst > ideal, worst - ideal, np.maximum(1e-9, np.abs(worst)))
    ideal = np.where(exact, np.minimum(ideal, worst - span), worst - span * (1 + BEYOND))
    return Box(ideal, worst)


def _worst_of_front(told: Floats) -> Floats:
    """The worst of each objective on the front; in a single objective, where a front is one value, half are better."""
    if told.shape[1] == 1:
        return np.median(told, axis=0)
    nadir: Floats = told[non_dominated(told)].max(axis=0)
    return np.maximum(nadir, np.median(told, axis=0))
