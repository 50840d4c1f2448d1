"""Which observations a process rests on where there are more than it can take: indices, the same at every call.

A Gaussian process costs the cube of its observations. Its hyper-parameters are about the whole space, so a few hundred
spread rows tell them; a prediction is about candidates near the front, where only what lies close adds much.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.samplers.evidence import Floats, squared_distances

Indices = NDArray[np.intp]

ROWS = 256  # distances at a time
SPREAD_SHARE = 0.25  # of the rows near a front: rows from everywhere, for the trend


def spread_rows(features: ArrayLike, size: int, *, first: Sequence[int] = ()) -> Indices:
    """At most `size` of the rows of `features` (n, d), rising: `first`, then half far apart, half evenly by row.

    Rows far apart cover the space; even ones are as dense as the observations are, which tells the noise.
    """
    x = np.asarray(features, dtype=np.float64)
    if len(x) <= size:
        return np.arange(len(x))
    chosen = list(dict.fromkeys(first))[:size]
    chosen += _far_apart(x, (size - len(chosen)) // 2, chosen)
    left = np.setdiff1d(np.arange(len(x)), chosen)
    even = left[np.linspace(0, len(left) - 1, size - len(chosen)).round().astype(np.intp)]
    return np.sort(np.append(np.array(chosen, dtype=np.intp), even))


def near_rows(features: ArrayLike, size: int, *, around: Sequence[int]) -> Indices:
    """At most `size` of the rows of `features` (n, d), rising: those closest to a row of `around`, and some spread.

    Features should be in units of their lengths. Of equally close rows the later one is taken.
    """
    x = np.asarray(features, dtype=np.float64)
    if len(x) <= size:
        return np.arange(len(x))
    near = size - int(size * SPREAD_SHARE) if len(around) else 0
    distances = np.zeros(len(x))
    for start in range(0, len(x) if near else 0, ROWS):
        block = x[start : start + ROWS]
        distances[start : start + ROWS] = squared_distances(block, x[list(around)]).min(axis=1)
    distances[list(around)] = 0.0
    closest = np.lexsort((-np.arange(len(x)), distances))[:near]
    left = np.setdiff1d(np.arange(len(x)), closest)
    even = left[np.linspace(0, len(left) - 1, size - near).round().astype(np.intp)]
    return np.sort(np.append(closest, even))


def _far_apart(x: Floats, count: int, chosen: Sequence[int]) -> list[int]:
    """Row by row the one farthest from all chosen so far (Gonzalez 1985); the first is the one farthest out."""
    found: list[int] = []
    squares = np.einsum("ij,ij->i", x, x)
    nearest = squares_to(x, x.mean(axis=0), squares) if not chosen else np.full(len(x), np.inf)
    for index in chosen:
        nearest = np.minimum(nearest, squares_to(x, x[index], squares))
    for _ in range(count):
        farthest = int(np.argmax(nearest))
        distances = squares_to(x, x[farthest], squares)
        # What comes after the mean is judged by its distance to rows alone.
        nearest = distances if not chosen and not found else np.minimum(nearest, distances)
        nearest[farthest] = -1.0
        found.append(farthest)
    return found


def squares_to(x: Floats, point: Floats, squares: Floats) -> Floats:
    """Squared distances of rows to a point, (n,), from the rows' own squares."""
    distances: Floats = squares - 2.0 * (x @ point) + point @ point
    return distances
