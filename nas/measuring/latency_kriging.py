"""Predictions of a fitted latency model: sums of terms with a kriged correction (Matheron 1969), and their variance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from nas.measuring.latency_regression import Prepared, Settings, coefficients_ms, shares_of
from nas.measuring.latency_similarity import SeenKernels
from nas.measuring.latency_terms import Array, Work

AT_ONCE = 128  # networks of one step of a prediction: what it needs in between stays small


class Fitted:
    """A fitted model: predicts the logarithm of a latency, with its standard deviation."""

    def __init__(self, prepared: Prepared, settings: Settings) -> None:
        samples = prepared.samples
        self.settings = settings
        self.weights_ms = coefficients_ms(prepared, settings)
        self._nominal_ms = prepared.nominal_ms
        additive_ms = samples.units @ self.weights_ms
        self._kernels, self._shares = samples.kernels, samples.shares(self.weights_ms)
        self._relative = samples.units * self._nominal_ms / additive_ms[:, None]
        correlated = {settings.reach: samples.correlated(self.weights_ms, prepared.alike[settings.reach])}
        unexplained = replace(prepared, correlated=correlated).unexplained(settings)
        whole = settings.spread**2 * self._relative @ self._relative.T + unexplained
        self._left = np.linalg.solve(unexplained, np.log(samples.latency_ms / additive_ms))
        self._factor = cho_factor(whole, lower=True)
        self._seen = SeenKernels(samples.kernels, self._shares, settings.reach)

    def predict(self, works: Sequence[Work]) -> tuple[Array, Array]:
        """Mean and standard deviation (n,) of the logarithms of latencies in milliseconds."""
        settings = self.settings
        units = np.array([work.total for work in works])
        additive_ms = units @ self.weights_ms
        shared, own = self._correlated(works)
        relative = units * self._nominal_ms / additive_ms[:, None]
        with_samples = settings.spread**2 * relative @ self._relative.T + settings.correction**2 * shared
        before = settings.spread**2 * (relative**2).sum(1) + settings.correction**2 * own
        known = (with_samples * cho_solve(self._factor, with_samples.T).T).sum(1)
        mean = np.log(additive_ms) + settings.correction**2 * shared @ self._left
        return mean, np.sqrt(np.maximum(before - known, 0) + settings.noise**2)

    def _correlated(self, works: Sequence[Work]) -> tuple[Array, Array]:
        """Correlation of the works' corrections with those of the samples (n, samples), and their own variance (n,)."""
        if not self.settings.correction:
            return np.zeros((len(works), len(self._shares))), np.zeros(len(works))
        places = self._seen.places(works)
        longest = max(map(len, places))
        shares, at = np.zeros((len(works), longest)), np.zeros((len(works), longest), np.intp)
        for i, (work, own_places) in enumerate(zip(works, places, strict=True)):
            shares[i, : len(own_places)], at[i, : len(own_places)] = shares_of(work, self.weights_ms), own_places
        found = [
            self._seen.correlated(shares[i : i + AT_ONCE], at[i : i + AT_ONCE]) for i in range(0, len(at), AT_ONCE)
        ]
        return np.concatenate([with_samples for with_samples, _ in found]), np.concatenate([own for _, own in found])
