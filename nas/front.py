"""The Pareto front: which values no others dominate, the best in the first objective first, and the fronts below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.objectives import Points, minimised
from nas.pareto import hypervolume_subset, non_dominated
from nas.records import QUALITIES

Indices = NDArray[np.intp]


def front(values: ArrayLike, objectives: Sequence[str], log_losses: Sequence[float | None] = ()) -> list[int]:
    """Indices of values (n, m), in the files' units, that no others dominate, the best in the first objective first.

    Log-losses (n,) order members of exactly equal quality, where the first objective is one. They decide nothing else:
    what is dominated stays off. Further ties are broken by the other objectives, then by the order given.
    """
    points = minimised(values, objectives)
    if not len(points):
        return []
    keys = [*points.T]
    if objectives[0] in QUALITIES and len(log_losses):
        losses = np.array([np.nan if loss is None else loss for loss in log_losses], dtype=np.float64)
        keys.insert(1, np.where(np.isnan(losses), np.inf, losses))
    order = np.lexsort(keys[::-1])  # by the first key, then the next; stable
    members = non_dominated(points)
    return [int(index) for index in order if members[index]]


def front_subset(
    points: Points, objectives: Sequence[str], wanted: int, *, reference_point: Points | None = None
) -> list[int]:
    """Indices of `wanted` of the points (n, m), all minimised: the best in each quality, then greedily by hypervolume.

    Volume alone leaves out the most accurate where there are few: after short training qualities lie close together,
    and costs then make the volume. The reference point is by default a little beyond the worst of the points.
    """
    limit = beyond_all(points) if reference_point is None else reference_point
    qualities = [column for column, name in enumerate(objectives) if name in QUALITIES]
    best = dict.fromkeys(int(points[:, column].argmin()) for column in qualities)
    return hypervolume_subset(points, limit, wanted, first=list(best))


def beyond_all(points: Points) -> Points:
    """A point (m,) a little beyond the worst of the points (n, m), so that the extremes of every objective count."""
    limit: Points = points.max(axis=0) + 0.05 * np.maximum(np.ptp(points, axis=0), 1e-9)
    return limit


def fronts(points: ArrayLike) -> Iterator[Indices]:
    """Indices of the points (n, m), all minimised, that no others dominate; then of those among the rest, and so on."""
    array = np.asarray(points, dtype=np.float64)
    left = np.arange(len(array))
    while len(left):
        members = left[non_dominated(array[left])]
        yield members
        left = np.setdiff1d(left, members)
