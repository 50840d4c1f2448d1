"""Dominance and hypervolume of points whose objectives are all minimised; needs numpy only.

Arrays have shape (n, m): n points in m objectives.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]

BLOCK = 256  # rows compared at once, so that memory grows with n and not with its square


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point dominates: nowhere worse and somewhere better. Equal points do not dominate
    each other, so all of them are kept.
    """
    array = _checked(points)
    kept = np.ones(len(array), dtype=np.bool_)
    # In lexicographic order no point dominates an earlier one, and what a dominated point dominates is dominated by
    # one that is kept: each block is compared with itself and with what is kept before it.
    order = np.lexsort(array.T[::-1])
    front = array[:0]
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        for others in (front, array[block]):
            block = block[~dominated_by(array[block], others)]
        kept[order[start : start + BLOCK]] = False
        kept[block] = True
        front = np.concatenate([front, array[block]])
    return kept


def dominated_by(points: Points, others: Points) -> NDArray[np.bool_]:
    """Which of the points (n, m) any of the others (k, m) dominates; needs memory for n times k."""
    no_worse = np.ones((len(points), len(others)), dtype=np.bool_)
    better = np.zeros_like(no_worse)
    for column, other in zip(points.T, others.T, strict=True):
        no_worse &= other <= column[:, None]
        better |= other < column[:, None]
    dominated: NDArray[np.bool_] = np.any(no_worse & better, axis=1)
    return dominated


def hypervolume(points: ArrayLike, reference_point: ArrayLike) -> float:
    """Volume of what the points dominate within the box below `reference_point`, exactly.

    Exclusive volumes are summed one point at a time as in WFG (While, Bradstreet and Barone 2012,
    doi:10.1109/TEVC.2010.2077298), each in one objective fewer, down to a sweep in three.
    """
    below = _below(points, reference_point)[1]
    return _volume(below[non_dominated(below)])


def hypervolume_subset(
    points: ArrayLike, reference_point: ArrayLike, k: int, *, first: Sequence[int] = ()
) -> list[int]:
    """Indices of `k` points (all, if there are fewer): those of `first`, then greedily by the hypervolume each adds.

    Ties go to the lower index; points that add nothing come last. A gain can only shrink as more points are
    chosen (hypervolume is submodular), so only the points that still lead are looked at again (lazy greedy).
    """
    if k < 0:
        raise ValueError(f"k: expected at least 0, got {k}")
    inside, below = _below(points, reference_point)
    gains = np.zeros(len(inside))
    gains[inside] = np.prod(-below, axis=1)
    shifted = np.zeros((len(inside), below.shape[1]))
    shifted[inside] = below
    chosen = list(first)[:k]
    queue = [(-gain, index, 0) for index, gain in enumerate(gains.tolist()) if index not in chosen]
    heapq.heapify(queue)
    while queue and len(chosen) < k:
        _, index, seen = heapq.heappop(queue)
        if seen == len(chosen):
            chosen.append(index)
        else:
            gain = _exclusive(shifted[index], shifted[chosen])
            heapq.heappush(queue, (-gain, index, len(chosen)))
    return chosen


def _checked(points: ArrayLike) -> Points:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"points: expected an array of shape (n, m), got shape {array.shape}")
    if np.isnan(array).any():
        raise ValueError("points: expected numbers, got NaN")
    return array


def _below(points: ArrayLike, reference_point: ArrayLike) -> tuple[NDArray[np.bool_], Points]:
    """Which points dominate the reference point everywhere, and these relative to it: negative numbers."""
    array, corner = _checked(points), np.asarray(reference_point, dtype=np.float64)
    if corner.shape != array.shape[1:] or not np.isfinite(corner).all():
        raise ValueError(f"reference_point: expected {array.shape[1]} finite numbers, got {corner.tolist()}")
    if np.isneginf(array).any():
        raise ValueError("points: expected a finite volume, got -inf")
    inside: NDArray[np.bool_] = np.all(array < corner, axis=1)
    return inside, array[inside] - corner


def _volume(points: Points) -> float:
    """Hypervolume of negative points below the origin."""
    n, m = points.shape
    if n == 0:
        return 0.0
    if m < 3:  # one unit thick in what is missing
        return _volume_3d(np.hstack([points, np.full((n, 3 - m), -1.0)]))
    if m == 3:
        return _volume_3d(points)
    front = np.unique(points[non_dominated(points)], axis=0)
    # Worst last objective first: cut to a point's box, all later points share its last value, and that
    # objective becomes a factor.
    front = front[np.argsort(-front[:, -1], kind="stable")]
    slices = (-p[-1] * _exclusive(p[:-1], front[i + 1 :, :-1]) for i, p in enumerate(front))
    return float(sum(slices))


def _exclusive(point: Points, others: Points) -> float:
    """Volume that `point` alone dominates beside `others`."""
    if np.any(np.all(others <= point, axis=1)):
        return 0.0
    return float(np.prod(-point)) - _volume(np.maximum(others, point))


def _volume_3d(points: Points) -> float:
    """Sweep along the third objective; a staircase in the first two bounds the area dominated so far."""
    xs, ys = [-math.inf, 0.0], [0.0, -math.inf]
    volume = area = 0.0
    last = 0.0
    for x, y, z in points[np.argsort(points[:, 2], kind="stable")].tolist():
        volume += area * (z - last)
        last = z
        area += _step(xs, ys, x, y)
    return volume - area * last


def _step(xs: list[float], ys: list[float], x: float, y: float) -> float:
    """Put the corner (x, y) into the staircase (xs rising, ys falling) and return the area it adds."""
    at = bisect_left(xs, x)
    if ys[at - 1] <= y or (xs[at] == x and ys[at] <= y):
        return 0.0
    end, left, ceiling, gained = at, x, ys[at - 1], 0.0
    while ys[end] >= y:
        gained += (xs[end] - left) * (ceiling - y)
        left, ceiling = xs[end], ys[end]
        end += 1
    gained += (xs[end] - left) * (ceiling - y)
    xs[at:end], ys[at:end] = [x], [y]
    return gained
