"""The Pareto front: which values no others dominate, the best in the first objective first, and the fronts below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.objectives import minimised
from nas.pareto import non_dominated
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


def fronts(points: ArrayLike) -> Iterator[Indices]:
    """Indices of the points (n, m), all minimised, that no others dominate; then of those among the rest, and so on."""
    array = np.asarray(points, dtype=np.float64)
    left = np.arange(len(array))
    while len(left):
        members = left[non_dominated(array[left])]
        yield members
        left = np.setdiff1d(left, members)
