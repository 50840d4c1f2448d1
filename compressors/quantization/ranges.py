"""Which range of values a grid covers: functions from a histogram of an activation to its lower and upper end.

Calibrations compared by Wu et al. 2020 (arXiv:2004.09602). A wide range clips nothing, a narrow one rounds less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressors.formats import ActivationScheme

Vector = NDArray[np.float64]
Range = tuple[float, float]
PERCENTILE = 99.99
_PARTS = 81  # bins per step of the grid: a power of 3, so that they can be merged and stay odd in number
_FULL = 8  # values per bin, on average, below which a histogram says little about a distribution
_FRACTIONS = np.linspace(1.0, 0.2, 41)  # of the range, among which the error is least
_SMALL = 1e-4  # probability of an empty bin, whose divergence would be infinite


@dataclass(frozen=True)
class Histogram:
    """How often values fell into bins of equal width: counts (bins,), an odd number of them, and edges (bins + 1,).

    The bins are symmetric to zero and cover the range; `low` and `high` are the smallest and the largest value.
    """

    counts: Vector
    edges: Vector
    low: float
    high: float

    @property
    def centers(self) -> Vector:
        return (self.edges[:-1] + self.edges[1:]) / 2


def levels_of(low: float, scheme: ActivationScheme) -> int:
    """Steps of a grid that also covers the mirror image of a range from `low` on: twice as many where it begins at 0.

    The number is odd.
    """
    return 2 * scheme.levels + 1 if low >= 0 and not scheme.symmetric else scheme.levels | 1


def bins_of(low: float, scheme: ActivationScheme) -> int:
    """How many bins a histogram needs: an odd multiple of the grid's steps."""
    return levels_of(low, scheme) * _PARTS


def minmax_range(seen: Histogram, _: ActivationScheme) -> Range:
    """From the smallest value to the largest."""
    return seen.low, seen.high


def percentile_range(seen: Histogram, _: ActivationScheme, *, percentile: float = PERCENTILE) -> Range:
    """Without the outermost values, as many on either side."""
    cut = (100 - percentile) / 200
    cumulated = np.cumsum(seen.counts / seen.counts.sum())
    first, last = (int(np.searchsorted(cumulated, share)) for share in (cut, 1 - cut))
    return max(seen.low, float(seen.edges[first])), min(seen.high, float(seen.edges[last]))


def mse_range(seen: Histogram, scheme: ActivationScheme) -> Range:
    """The range of least mean squared error of what is rounded and clipped: first its upper end, then its lower."""
    used = seen.counts > 0
    values, weights = seen.centers[used], seen.counts[used]

    def error(low: float, high: float) -> float:
        return float(weights @ (on_grid(values, low, high, scheme) - values) ** 2)

    high = min((seen.high * share for share in _FRACTIONS), key=lambda high: error(seen.low, high))
    low = min((seen.low * share for share in _FRACTIONS), key=lambda low: error(low, high))
    return low, high


def entropy_range(seen: Histogram, scheme: ActivationScheme) -> Range:
    """The range whose rounded distribution diverges least from the whole one (Migacz 2017, 8-bit inference, TensorRT).

    Zeros are left out: every grid has them, and behind a ReLU they are so many that narrow steps around them would
    decide. Of few values the bins are merged before, since nearly empty ones fit a narrow range best; at a bin per step
    the range is that of all values.
    """
    levels = levels_of(seen.low, scheme)
    counts, edges = seen.counts.copy(), seen.edges
    counts[len(counts) // 2] = 0
    while len(counts) >= 3 * levels and counts.sum() < _FULL * len(counts):
        counts, edges = counts.reshape(-1, 3).sum(1), edges[::3]
    threshold = entropy_threshold(counts, edges, levels, stride=levels)
    return max(seen.low, -threshold), min(seen.high, threshold)


def entropy_threshold(counts: Vector, edges: Vector, levels: int, *, stride: int = 1) -> float:
    """The t of least Kullback-Leibler divergence between the distribution clipped to [-t, t] and its rounding to
    `levels` steps, among every `stride`-th bin from the smallest on that has a bin per step.

    counts: (bins,), an odd number of bins symmetric to zero. Bins that the steps do not divide count for the last.
    """
    middle = len(counts) // 2
    sides = range(levels // 2, middle + 1, stride)
    divergences = [_divergence(counts, middle - side, min(middle + side + 1, len(counts)), levels) for side in sides]
    best = sides[int(np.argmin(divergences))]
    return float(edges[min(middle + best + 1, len(counts))])


def _divergence(counts: Vector, start: int, stop: int, levels: int) -> float:
    """Divergence of counts[start:stop], whose ends hold what is clipped, from its merging into `levels` steps."""
    inside = counts[start:stop]
    clipped = inside.copy()
    clipped[0] += counts[:start].sum()
    clipped[-1] += counts[stop:].sum()
    merged = len(inside) // levels
    places = np.arange(levels) * merged
    sums = np.add.reduceat(inside, places)
    filled = np.add.reduceat((clipped[: levels * merged] != 0).astype(np.float64), places)
    shares = np.divide(sums, filled, out=np.zeros_like(sums), where=filled > 0)
    rounded = np.zeros_like(clipped)
    rounded[: levels * merged] = np.repeat(shares, merged)
    expected, found = _smoothed(clipped), _smoothed(np.where(clipped != 0, rounded, 0.0))
    if expected is None or found is None:
        return float("inf")
    expected, found = expected / expected.sum(), found / found.sum()
    return float(np.sum(expected * np.log(expected / found)))


def _smoothed(counts: Vector) -> Vector | None:
    """A distribution whose empty bins have a little, taken from the others; None where these have too little."""
    empty = counts == 0
    if empty.all():
        return None
    taken = _SMALL * empty.sum() / (~empty).sum()
    return np.where(empty, _SMALL, counts - taken) if taken < 1 else None


def on_grid(values: Vector, low: float, high: float, scheme: ActivationScheme) -> Vector:
    """Values rounded and clipped to the scheme's grid over a range that is widened to hold zero."""
    bottom, top = min(low, 0.0), max(high, 0.0)
    width, steps = (max(-bottom, top), scheme.high) if scheme.symmetric else (top - bottom, scheme.levels)
    scale = max(width, 1e-6) / steps
    if scheme.powers_of_two:
        scale = 2.0 ** math.ceil(math.log2(scale))
    unit = 2 if scheme.powers_of_two else 1  # zero points are even there
    zero_point = 0 if scheme.symmetric else round(-bottom / scale / unit) * unit + scheme.low
    codes = np.clip(np.round(values / scale) + zero_point, scheme.low, scheme.high)
    found: Vector = (codes - zero_point) * scale
    return found


Calibration = Callable[[Histogram, ActivationScheme], Range]
CALIBRATIONS: Mapping[str, Calibration] = {
    "minmax": minmax_range,
    "percentile": percentile_range,
    "mse": mse_range,
    "entropy": entropy_range,
}


def calibration_named(name: str) -> Calibration:
    """The row of this name. Raises ValueError with the names there are."""
    if name not in CALIBRATIONS:
        raise ValueError(f"calibration: expected one of {', '.join(CALIBRATIONS)}, got {name!r}")
    return CALIBRATIONS[name]
