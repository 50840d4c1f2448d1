"""A latency that is learned while searching: a sum over kinds of work, fitted to what trials have measured so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from problems import Params
from scipy.optimize import nnls

LEAST = 3  # measured networks before a fit is believed
PULL = 0.05  # of a typical network's work: how strongly milliseconds per kind of work are drawn to be small
LEAST_SD = 0.02  # of a prediction


class LatencyByTrials:
    """Non-negative least squares of relative errors; `version` counts what it has been told.

    work: of a network, how much there is of each kind of work.
    """

    def __init__(self, work: Callable[[Params], Sequence[float]]) -> None:
        self._work = work
        self._rows: list[Sequence[float]] = []
        self._measured: list[float] = []
        self._prices: NDArray[np.float64] | None = None
        self._sd = 0.0

    @property
    def version(self) -> int:
        return len(self._measured)

    def tell(self, params: Params, latency_ms: float) -> None:
        """Another measured network."""
        self._rows.append(self._work(params))
        self._measured.append(latency_ms)
        if len(self._measured) >= LEAST:
            self._fit()

    def predict(self, params: Params) -> tuple[float, float] | None:
        """Mean and standard deviation in ms; None before a few networks are measured."""
        if self._prices is None:
            return None
        mean = max(float(np.dot(self._work(params), self._prices)), min(self._measured) / 2)
        return mean, mean * self._sd

    def _fit(self) -> None:
        work, measured = np.array(self._rows), np.array(self._measured)
        relative, usual = work / measured[:, None], np.maximum(work.mean(axis=0), 1e-9) / measured.mean()
        pulled = np.vstack([relative, np.diag(PULL * usual)])
        self._prices, _ = nnls(pulled, np.concatenate([np.ones(len(measured)), np.zeros(len(usual))]))
        left = relative @ self._prices - 1
        self._sd = max(LEAST_SD, float(np.sqrt((left**2).sum() / max(1, len(left) - np.count_nonzero(self._prices)))))
