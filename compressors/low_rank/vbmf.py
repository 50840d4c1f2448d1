"""The rank of a noisy matrix, by the global analytic solution of empirical variational Bayesian matrix factorization.

Nakajima, Sugiyama, Babacan and Tomioka 2013, "Global Analytic Solution of Fully-observed Variational Bayesian Matrix
Factorization" (JMLR 14); arXiv:1511.06530 takes it for the ranks of a network's layers. A matrix (L, M), L <= M, is
taken for one of low rank and noise of variance v: a singular value stands for signal where it is above
sqrt(M v (1 + t) (1 + a / t)), a = L / M. Where v is not known it minimizes the free energy.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def rank_by_vbmf(matrix: Array) -> int:
    """How many singular values of a matrix stand for signal; 0 for noise alone."""
    rows, columns = sorted(matrix.shape)
    values: Array = np.linalg.svd(matrix, compute_uv=False).astype(np.float64)
    if rows == 1 or not values[0] > 0:
        return int(values[0] > 0)
    return int((values > threshold(noise_variance(values, columns), rows, columns)).sum())


def threshold(variance: float, rows: int, columns: int) -> float:
    """The smallest singular value that stands for signal, beside noise of this variance; rows <= columns."""
    return math.sqrt(columns * variance * _least_signal(rows / columns))


def noise_variance(values: Array, columns: int) -> float:
    """The variance of least free energy, of a matrix with all these singular values and so many columns."""
    squares = values**2 / columns
    rows = len(values)
    ratio = rows / columns
    most = min(math.ceil(rows / (1 + ratio)) - 1, rows - 1)  # the signals there can be at most
    low = max(squares[most] / _least_signal(ratio), float(squares[most:].mean()))
    high = float(squares.mean())
    low = max(low, 1e-12 * high)
    return _least(lambda variance: free_energy(variance, squares, ratio), low, max(high, low))


def free_energy(variance: float, squares: Array, ratio: float) -> float:
    """Twice the free energy per column, but for a constant; `squares` are the squared singular values per column."""
    scaled = np.maximum(squares, 1e-300) / variance
    signal = scaled[scaled > _least_signal(ratio)]
    noise = scaled[scaled <= _least_signal(ratio)]
    shrunk = _tau(signal, ratio)
    energy = (noise - np.log(noise)).sum() + (signal - shrunk).sum() + np.log((shrunk + 1) / signal).sum()
    return float(energy + ratio * np.log(shrunk / ratio + 1).sum())


def _least_signal(ratio: float) -> float:
    """x of the paper: the least squared singular value that stands for signal, per column and variance."""
    tau = _least_tau(ratio)
    return (1 + tau) * (1 + ratio / tau)


def _least_tau(ratio: float) -> float:
    """Where phi(t) + phi(t / ratio) = 0, phi(x) = log(1 + x) / x - 1 / 2: it falls with t."""
    low, high = 1e-9, 10.0
    for _ in range(100):
        middle = (low + high) / 2
        is_below = _phi(middle) + _phi(middle / ratio) > 0
        low, high = (middle, high) if is_below else (low, middle)
    return high


def _phi(x: float) -> float:
    return math.log1p(x) / x - 0.5


def _tau(scaled: Array, ratio: float) -> Array:
    rest = scaled - (1 + ratio)
    return np.asarray(0.5 * (rest + np.sqrt(np.maximum(rest**2 - 4 * ratio, 0.0))))


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function is least, between two bounds: it may have several valleys, so a grid comes first."""
    for points in (257, 65, 65):
        grid = np.geomspace(low, high, points)
        best = int(np.argmin([function(value) for value in grid]))
        low, high = grid[max(0, best - 1)], grid[min(points - 1, best + 1)]
    return float(grid[best])
