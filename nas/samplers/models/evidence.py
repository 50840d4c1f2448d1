"""Hyper-parameters of a Gaussian process by maximum a posteriori: Matern-5/2 with a length for each feature.

Rasmussen and Williams 2006, sections 4.2 and 5.4; the median of the prior of the lengths grows with the root of their
number, as in Hvarfner, Hellsten and Nardi 2024 (arXiv:2402.02229).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Groups = NDArray[np.intp]

JITTER = 1e-6  # share of the variance added to the diagonal, so that repeated features do not break the factor
ROOT5 = 5**0.5
FAILED = 1e10  # stands for the objective where a covariance cannot be factored

# Priors of the logarithms: normal, (mean, sd).
VARIANCE_PRIOR = (0.0, 1.0)
LENGTH_PRIOR = (0.7, 1.0)  # plus half the logarithm of the number of lengths
NOISE_PRIOR = (-5.0, 1.5)
PRIOR_SDS = 5.0  # how far from the prior's mean a search goes
SMALL = 40  # up to so many observations a search starts from the prior's mean as well


@dataclass(frozen=True)
class Hyperparameters:
    """Of one process. Targets are seen as (target - center) / scale; variance and noise are of those."""

    center: float
    scale: float
    log_variance: float
    log_lengths: tuple[float, ...]  # one for each feature
    log_noise: float

    def to_json(self) -> dict[str, Any]:
        """As numbers and lists that JSON gives back exactly."""
        return {**asdict(self), "log_lengths": list(self.log_lengths)}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Hyperparameters:
        """What `to_json` wrote. Raises ValueError for anything else."""
        names = {"center", "scale", "log_variance", "log_lengths", "log_noise"}
        if set(written) != names:
            raise ValueError(f"hyper-parameters: expected {', '.join(sorted(names))}, got {', '.join(sorted(written))}")
        return cls(**{**written, "log_lengths": tuple(written["log_lengths"])})

    def scaled(self, features: ArrayLike) -> Floats:
        """Features (n, d) in units of their lengths."""
        array = np.asarray(features, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != len(self.log_lengths):
            raise ValueError(f"features: expected shape (n, {len(self.log_lengths)}), got {array.shape}")
        scaled: Floats = array * np.exp(-np.array(self.log_lengths))
        return scaled


def fit_hyperparameters(
    features: ArrayLike,
    targets: ArrayLike,
    *,
    extra_noise: ArrayLike | None = None,
    prior_mean: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    start: Hyperparameters | None = None,
    steps: int = 40,
) -> Hyperparameters:
    """The most probable hyper-parameters given n observations: features (n, d) of order one, targets (n,).

    `extra_noise` (n,) are variances in the targets' square units, known beforehand, beside the noise that is
    learned. `prior_mean` (n,) is taken off the targets. Features of equal number in `groups` (d,) share a length.
    The search starts from `start`, and from the prior's mean where there is none or the observations are few.
    """
    x, residuals = np.asarray(features, dtype=np.float64), residuals_of(targets, prior_mean)
    if len(x) != len(residuals) or len(x) == 0:
        raise ValueError(f"features, targets: expected equally many rows, at least 1, got {len(x)}, {len(residuals)}")
    center, scale = float(residuals.mean()), float(residuals.std()) or 1.0
    noise = np.zeros(len(x)) if extra_noise is None else np.asarray(extra_noise, dtype=np.float64) / scale**2
    members = np.arange(x.shape[1]) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    evidence = Evidence(x, (residuals - center) / scale, noise, members)
    starts = [] if start is None else [evidence.parameters_of(start)]
    if start is None or len(x) <= SMALL:
        starts.append(evidence.prior_mean)
    bounds = np.stack([evidence.prior_mean - PRIOR_SDS * evidence.prior_sd,
                       evidence.prior_mean + PRIOR_SDS * evidence.prior_sd], axis=1)  # fmt: skip
    searches = [
        minimize(evidence.loss, np.clip(at, *bounds.T), jac=True, method="L-BFGS-B", bounds=bounds,
                 options={"maxiter": steps})
        for at in starts
    ]  # fmt: skip
    best = min(searches, key=lambda search: float(search.fun)).x
    lengths = tuple(best[1:-1][members].tolist())
    return Hyperparameters(center, scale, float(best[0]), lengths, float(best[-1]))


def residuals_of(targets: ArrayLike, prior_mean: ArrayLike | None) -> Floats:
    """Targets less their prior mean, shape (n,)."""
    array = np.asarray(targets, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"targets: expected finite numbers of shape (n,), got shape {array.shape}")
    return array if prior_mean is None else array - np.asarray(prior_mean, dtype=np.float64)


def squared_distances(left: Floats, right: Floats) -> Floats:
    """Squared Euclidean distances of rows, (n, d) and (p, d) to (n, p)."""
    squares = left @ (-2.0 * right.T)
    squares += np.einsum("ij,ij->i", left, left)[:, None]
    squares += np.einsum("ij,ij->i", right, right)
    return np.maximum(squares, 0.0, out=squares)


@dataclass(frozen=True)
class Evidence:
    """Posterior density of hyper-parameters: parameters are [log variance, log length of each group, log noise]."""

    features: Floats  # (n, d)
    targets: Floats  # (n,), of mean 0 and standard deviation 1
    extra_noise: Floats  # (n,)
    groups: Groups  # (d,)

    @property
    def prior_mean(self) -> Floats:
        count = self._lengths
        length = LENGTH_PRIOR[0] + 0.5 * np.log(max(1, count))
        return np.array([VARIANCE_PRIOR[0], *[length] * count, NOISE_PRIOR[0]])

    @property
    def prior_sd(self) -> Floats:
        return np.array([VARIANCE_PRIOR[1], *[LENGTH_PRIOR[1]] * self._lengths, NOISE_PRIOR[1]])

    @property
    def _lengths(self) -> int:
        return int(self.groups.max(initial=-1)) + 1

    def parameters_of(self, hyperparameters: Hyperparameters) -> Floats:
        """Hyper-parameters as a vector: a group's length is that of its first feature."""
        firsts = np.unique(self.groups, return_index=True)[1]
        lengths = np.array(hyperparameters.log_lengths)[firsts]
        return np.array([hyperparameters.log_variance, *lengths, hyperparameters.log_noise])

    def loss(self, parameters: Floats) -> tuple[float, Floats]:
        """Negative logarithm of the posterior density up to a constant, and its gradient."""
        variance, noise = np.exp(parameters[0]), np.exp(parameters[-1])
        scaled = self.features * np.exp(-parameters[1:-1])[self.groups]
        distances = squared_distances(scaled, scaled)
        np.fill_diagonal(distances, 0.0)
        root = ROOT5 * np.sqrt(distances)
        decay = variance * np.exp(-root)
        covariance = (1.0 + root + root * root / 3.0) * decay
        noisy = covariance.copy()
        noisy[np.diag_indices_from(noisy)] += noise + self.extra_noise + JITTER * variance
        try:
            factor = cholesky(noisy, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            return FAILED, np.zeros_like(parameters)
        weights = cho_solve((factor, True), self.targets, check_finite=False)
        away = (parameters - self.prior_mean) / self.prior_sd
        value = 0.5 * self.targets @ weights + np.log(np.diag(factor)).sum() + 0.5 * away @ away
        slope = np.outer(weights, weights) - _inverse(factor)  # minus twice the derivative by the covariance
        by_distance = slope * (5.0 / 3.0) * (1.0 + root) * decay
        by_feature = _spread_by_feature(by_distance, scaled)
        gradient = np.empty_like(parameters)
        gradient[0] = -0.5 * ((slope * covariance).sum() + JITTER * variance * np.trace(slope))
        gradient[1:-1] = -0.5 * np.bincount(self.groups, by_feature, minlength=self._lengths)
        gradient[-1] = -0.5 * np.trace(slope) * noise
        return float(value), gradient + away / self.prior_sd


def _inverse(factor: Floats) -> Floats:
    """Inverse of the matrix whose lower Cholesky factor this is."""
    lower, _ = dpotri(factor, lower=1)
    inverse: Floats = np.tril(lower) + np.tril(lower, -1).T
    return inverse


def _spread_by_feature(weights: Floats, features: Floats) -> Floats:
    """Sum over i, j of weights[i, j] * (features[i] - features[j])^2 for symmetric weights, shape (d,)."""
    spread: Floats = 2.0 * (weights.sum(axis=1) @ (features * features) - (features * (weights @ features)).sum(axis=0))
    return spread
