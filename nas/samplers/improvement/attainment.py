"""What a front attains: boxes below the reference point, each with the least first objective reached there.

Everything is minimised, and the reference point is 1 in every objective.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.pareto import non_dominated

Floats = NDArray[np.float64]
Ranks = NDArray[np.intp]


@dataclass(frozen=True)
class Attainment:
    """T(c), the least first objective of the front points whose k other objectives are all at most c, else 1.

    T is constant on b disjoint boxes [lower, upper) that fill everything below 1. Corners are ranks: `values[i]`
    holds what rank 0, 1, ... stands for in objective i. There `values[0]` ends, and for i > 0 both begins with -inf
    and ends, with the reference point's 1.
    """

    values: tuple[Floats, ...]
    level: Ranks  # (b,): T, as a rank in objective 0
    lower: Ranks  # (b, k)
    upper: Ranks  # (b, k)

    @classmethod
    def of(cls, front: ArrayLike) -> Attainment:
        """Of points of shape (m, 1 + k). Dominated points, repeated ones and those beyond 1 change nothing."""
        points = np.asarray(front, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] == 0 or np.isnan(points).any():
            raise ValueError(f"front: expected numbers of shape (m, 1 or more), got shape {points.shape} or NaN")
        points = points[np.all(points < 1, axis=1)]
        points = points[non_dominated(points)]
        # The least first objective comes first; a point comes before those that it dominates.
        points = points[np.lexsort(points.T[::-1])]
        order = np.argsort(points[:, 1:], axis=0, kind="stable")
        # Equal coordinates get ranks of their own, as if the later point were worse by a hair: boxes between them
        # are empty.
        level, lower, upper = _boxes(np.argsort(order, axis=0) + 1)
        others = np.take_along_axis(points[:, 1:], order, axis=0)
        values = [np.append(points[:, 0], 1.0), *(np.concatenate([[-np.inf], column, [1.0]]) for column in others.T)]
        thick = [values[i + 1][lower[:, i]] < values[i + 1][upper[:, i]] for i in range(lower.shape[1])]
        kept = np.logical_and.reduce([np.ones(len(level), dtype=np.bool_), *thick])
        return cls(tuple(values), level[kept], lower[kept], upper[kept])

    def integral(self, tables: Sequence[Floats]) -> Floats:
        """Sum over boxes of tables[0] at T times the rises of the other tables from lower to upper, shape (n,).

        `tables[i]` has shape (len(values[i]), n): one function of objective i for each of n candidates.
        """
        product = np.take(tables[0], self.level, axis=0)
        for i, table in enumerate(tables[1:]):
            product *= np.take(table, self.upper[:, i], axis=0) - np.take(table, self.lower[:, i], axis=0)
        total: Floats = product.sum(axis=0)
        return total


def _boxes(ranks: Ranks) -> tuple[Ranks, Ranks, Ranks]:
    """Levels (b,), lower and upper corners (b, k) for points in rising order of the first objective.

    `ranks` (m, k) are distinct in each column, 1 to m. Upper corners are the local upper bounds of the points so
    far (Klamroth, Lacour and Vanderpooten 2015, doi:10.1016/j.ejor.2015.03.031): the largest boxes that no point
    enters. A point closes the bounds above it, at its level, and each leaves a child for every objective in which
    the point bounds it. `corners[b, j]` is the point that bounds b in objective j.
    """
    m, k = ranks.shape
    upper = np.full((1, k), m + 1, dtype=np.intp)
    corners = np.zeros((1, k, k), dtype=np.intp)
    found: list[tuple[Ranks, Ranks, Ranks]] = []
    for level, point in enumerate(ranks):
        above = np.all(upper > point, axis=1)
        if not above.any():
            continue
        cut, bounding = upper[above], corners[above]
        found.append((np.full(len(cut), level), np.maximum(point, _lower(bounding)), cut))
        bounding[:, range(k), range(k)] = 0
        uppers, parents = [upper[~above]], [corners[~above]]
        for j, free in enumerate((bounding.max(axis=1, initial=0) < point).T):
            child, its_corners = cut[free], corners[above][free]
            child[:, j], its_corners[:, j] = point[j], point
            uppers.append(child)
            parents.append(its_corners)
        upper, corners = np.concatenate(uppers), np.concatenate(parents)
    found.append((np.full(len(upper), m), _lower(corners), upper))
    levels, lowers, upper_corners = zip(*found, strict=True)
    return np.concatenate(levels), np.concatenate(lowers), np.concatenate(upper_corners)


def _lower(corners: Ranks) -> Ranks:
    """Lower corners that make the boxes disjoint: in objective i, where the points that bound i+1, i+2, ... begin."""
    k = corners.shape[1]
    later = [corners[:, i + 1 :, i].max(axis=1, initial=0) for i in range(k)]
    return np.stack(later, axis=1) if k else np.zeros((len(corners), 0), dtype=np.intp)
