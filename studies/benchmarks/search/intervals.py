"""Medians, paired differences and their 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000


class Interval(NamedTuple):
    """A statistic of a sample and its percentile bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f}-{self.high:.4f})"


def of_median(values: Sequence[float]) -> Interval:
    return _bootstrap(values, lambda array: np.median(array, axis=-1))


def of_mean(values: Sequence[float]) -> Interval:
    return _bootstrap(values, lambda array: np.mean(array, axis=-1))


def _bootstrap(values: Sequence[float], statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Interval:
    if not len(values):
        raise ValueError("interval: expected at least one value, got none")
    array = np.asarray(values, dtype=np.float64)
    chosen = np.random.default_rng(0).integers(len(array), size=(RESAMPLES, len(array)))
    low, high = np.percentile(statistic(array[chosen]), [2.5, 97.5])
    return Interval(float(statistic(array)), float(low), float(high))
