"""A Gaussian process with given hyper-parameters: what it knows after some observations, and after a few more.

Rasmussen and Williams 2006, algorithm 2.1. Predictions are of the function and not of an observation: noise is left
out of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular

from nas.samplers.models.evidence import JITTER, ROOT5, Hyperparameters, residuals_of, squared_distances

Floats = NDArray[np.float64]

ROWS = 256  # predictions at a time, so that covariances stay in a core's cache
LEAST_VARIANCE = 1e-8  # in units of the targets' variance: what rounding leaves of none


class GaussianProcess:
    """Posterior given n observations: features (n, d), targets (n,).

    `extra_noise` (n,) are variances in the targets' square units, beside the learned noise. `prior_mean` (n,) is what
    was believed of the targets; where it is given, predictions need theirs.
    """

    def __init__(
        self,
        hyperparameters: Hyperparameters,
        features: ArrayLike,
        targets: ArrayLike,
        *,
        extra_noise: ArrayLike | None = None,
        prior_mean: ArrayLike | None = None,
    ) -> None:
        self.hyperparameters = hyperparameters
        self._features, self._targets = self._observations(features, targets, prior_mean)
        covariance = self._covariance(self._features, self._features)
        covariance[np.diag_indices_from(covariance)] += self._noise(extra_noise, len(self._targets))
        self._factor: Floats = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        self._condition()

    def __len__(self) -> int:
        return len(self._targets)

    def predict(self, features: ArrayLike, *, prior_mean: ArrayLike | None = None) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the function at p points, each of shape (p,)."""
        scaled = self.hyperparameters.scaled(features)
        covariance = self._covariance(scaled, self._features)
        solved = solve_triangular(self._factor, covariance.T, lower=True, check_finite=False)
        variance = np.exp(self.hyperparameters.log_variance) - np.einsum("ij,ij->j", solved, solved)
        scale = self.hyperparameters.scale
        mean: Floats = covariance @ self._weights * scale + self.hyperparameters.center
        sd: Floats = np.sqrt(np.maximum(variance, LEAST_VARIANCE)) * scale
        return mean if prior_mean is None else mean + np.asarray(prior_mean, dtype=np.float64), sd

    def mean(self, features: ArrayLike) -> Floats:
        """The mean alone at p points, (p,): no system is solved for it."""
        covariance = self._covariance(self.hyperparameters.scaled(features), self._features)
        mean: Floats = covariance @ self._weights * self.hyperparameters.scale + self.hyperparameters.center
        return mean

    def extended(
        self,
        features: ArrayLike,
        targets: ArrayLike,
        *,
        extra_noise: ArrayLike | None = None,
        prior_mean: ArrayLike | None = None,
    ) -> GaussianProcess:
        """The posterior after some more observations: the factor grows by rows, nothing is factored again."""
        scaled, more = self._observations(features, targets, prior_mean)
        across = solve_triangular(
            self._factor, self._covariance(self._features, scaled), lower=True, check_finite=False
        )
        left = self._covariance(scaled, scaled) - across.T @ across
        left[np.diag_indices_from(left)] += self._noise(extra_noise, len(more))
        n, q = across.shape
        factor = np.zeros((n + q, n + q), order="F")
        factor[:n, :n], factor[n:, :n] = self._factor, across.T
        factor[n:, n:] = cholesky(left, lower=True, check_finite=False)
        grown = object.__new__(GaussianProcess)
        grown.hyperparameters = self.hyperparameters
        grown._features, grown._targets = np.vstack([self._features, scaled]), np.append(self._targets, more)
        grown._factor = factor
        grown._condition()
        return grown

    def _condition(self) -> None:
        self._weights: Floats = cho_solve((self._factor, True), self._targets, check_finite=False)

    def _observations(
        self, features: ArrayLike, targets: ArrayLike, prior_mean: ArrayLike | None
    ) -> tuple[Floats, Floats]:
        """Features in units of their lengths, and targets in those of the hyper-parameters."""
        scaled, residuals = self.hyperparameters.scaled(features), residuals_of(targets, prior_mean)
        if len(scaled) != len(residuals):
            raise ValueError(f"features, targets: expected equally many rows, got {len(scaled)}, {len(residuals)}")
        return scaled, (residuals - self.hyperparameters.center) / self.hyperparameters.scale

    def _noise(self, extra_noise: ArrayLike | None, count: int) -> Floats:
        learned = np.exp(self.hyperparameters.log_noise) + JITTER * np.exp(self.hyperparameters.log_variance)
        extra = np.zeros(count) if extra_noise is None else np.asarray(extra_noise, dtype=np.float64)
        noise: Floats = learned + extra / self.hyperparameters.scale**2
        return noise

    def _covariance(self, left: Floats, right: Floats) -> Floats:
        """Matern-5/2 of features in units of their lengths, (n, p)."""
        variance = np.exp(self.hyperparameters.log_variance)
        covariance = np.empty((len(left), len(right)))
        for start in range(0, len(left), ROWS):
            root = ROOT5 * np.sqrt(squared_distances(left[start : start + ROWS], right))
            covariance[start : start + ROWS] = variance * (1.0 + root + root * root / 3.0) * np.exp(-root)
        return covariance
