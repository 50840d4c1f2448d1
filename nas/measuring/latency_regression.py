"""The arithmetic of the latency model: times of terms that are never negative, and a correction learned per kernel.

A network i that took y_i has units a_ij of term j and spends the share s_ik of its time in kernel k:

    log y_i = log(sum_j a_ij p_j u_j) + sum_k s_ik d_k + e_i

with nominal times p_j; u_j ~ N(1, spread^2) and not negative; d a Gaussian process over the shapes of kernels, apart
for each kind, with standard deviation `correction` and length `reach`; and noise e_i ~ N(0, noise^2). The times are the
most probable ones (non-negative least squares, Lawson and Hanson 1974, of the whitened system), the settings those of
most evidence. A latency far off the others, as one measured beside a busy neighbour is, weighs less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import nnls

from nas.measuring.latency_similarity import similarities
from nas.measuring.latency_terms import NOMINAL_NS, Array, Kernel, Work

NOMINAL_MS = np.array(list(NOMINAL_NS.values())) * 1e-6
OUTLYING = 4.0  # standard deviations from where on a latency weighs less
LEAST_NOISE = 0.003
PASSES = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """Relative standard deviations, and the length over which kernels are alike, in units of their shape."""

    spread: float = 0.7
    correction: float = 0.2
    reach: float = 3.0
    noise: float = 0.01


CHOICES = {
    "spread": (0.35, 0.7, 1.4),
    "correction": (0.0, 0.1, 0.2, 0.4, 0.8),
    "reach": (1.5, 3.0, 6.0),
    "noise": (0.005, 0.01, 0.02, 0.04),
}


@dataclass(frozen=True, slots=True)
class Samples:
    """Measured networks: units (n, terms), kernels of all, and the latencies (n,) in milliseconds."""

    units: Array
    works: tuple[Work, ...]
    kernels: tuple[Kernel, ...]
    places: tuple[NDArray[np.intp], ...]
    latency_ms: Array

    @classmethod
    def of(cls, works: Sequence[Work], latency_ms: Sequence[float]) -> Samples:
        index: dict[Kernel, int] = {}
        places = [np.array([index.setdefault(kernel, len(index)) for kernel in work.kernels]) for work in works]
        units = np.array([work.total for work in works])
        return cls(units, tuple(works), tuple(index), tuple(places), np.asarray(latency_ms, dtype=np.float64))

    def shares(self, weights_ms: Array) -> Array:
        """The share (n, kernels) of its time that each network spends in each kernel."""
        found = np.zeros((len(self.works), len(self.kernels)))
        for row, work, places in zip(found, self.works, self.places, strict=True):
            np.add.at(row, places, shares_of(work, weights_ms))
        return found

    def correlated(self, weights_ms: Array, alike: Array) -> Array:
        """Correlation (n, n) of the samples' corrections, from that of all kernels, of which a network has few."""
        shares = [shares_of(work, weights_ms) for work in self.works]
        with_kernels = np.array([own @ alike[at] for own, at in zip(shares, self.places, strict=True)])
        return with_kernels @ self.shares(weights_ms).T


def shares_of(work: Work, weights_ms: Array) -> Array:
    """The share of its time that a network spends in each of its kernels."""
    spent = np.bincount(work.rows, work.values * weights_ms[work.columns], minlength=len(work.kernels))
    total: float = spent.sum()
    return spent / total


@dataclass(frozen=True, slots=True)
class Prepared:
    """Samples with what does not depend on the settings.

    nominal_ms: the nominal times, brought to this machine. additive_ms: what a first fit says of the samples.
    stretch: by how much the noise of each is larger. alike, correlated: by reach, correlation of kernels, of samples.
    """

    samples: Samples
    nominal_ms: Array
    additive_ms: Array
    stretch: Array
    alike: Mapping[float, Array]
    correlated: Mapping[float, Array]

    def some(self, rows: NDArray[np.bool_]) -> Prepared:
        """The same of a part of the samples."""
        whole = self.samples
        numbers = np.flatnonzero(rows)
        part = replace(
            whole,
            units=whole.units[rows],
            works=tuple(whole.works[i] for i in numbers),
            places=tuple(whole.places[i] for i in numbers),
            latency_ms=whole.latency_ms[rows],
        )
        return replace(
            self,
            samples=part,
            additive_ms=self.additive_ms[rows],
            stretch=self.stretch[rows],
            correlated={reach: found[np.ix_(rows, rows)] for reach, found in self.correlated.items()},
        )

    def linearised(self, additive_ms: Array) -> tuple[Array, Array]:
        """Slopes (n, terms) of log y in the factors u where the terms add up to `additive_ms`, and what they give."""
        slopes = self.samples.units * self.nominal_ms / additive_ms[:, None]
        return slopes, 1 + np.log(self.samples.latency_ms / additive_ms)

    def unexplained(self, settings: Settings) -> Array:
        """Covariance (n, n) of correction and noise, relative."""
        noise = np.diag((settings.noise * self.stretch) ** 2)
        if not settings.correction:
            return noise
        covariance: Array = settings.correction**2 * self.correlated[settings.reach] + noise
        return covariance


def prepare(samples: Samples) -> Prepared:
    """A first fit without a correction, for the shares of the kernels and for what stands out."""
    alike = {reach: similarities(samples.kernels, samples.kernels, reach) for reach in CHOICES["reach"]}
    scale = float(np.exp(np.median(np.log(samples.latency_ms / (samples.units @ NOMINAL_MS)))))
    first = Prepared(
        samples,
        NOMINAL_MS * scale,
        additive_ms=samples.latency_ms,
        stretch=np.ones(len(samples.latency_ms)),
        alike=alike,
        correlated={},
    )
    for _ in range(PASSES):
        weights = coefficients_ms(first, Settings(correction=0.0, noise=0.02))
        additive_ms = samples.units @ weights
        off = np.abs(np.log(samples.latency_ms / additive_ms))
        usual = max(LEAST_NOISE, 1.5 * float(np.median(off)))  # the median of |N(0, 1)| is 1 / 1.48
        first = replace(first, additive_ms=additive_ms, stretch=np.maximum(1, off / (OUTLYING * usual)))
    return replace(first, correlated={reach: samples.correlated(weights, found) for reach, found in alike.items()})


def coefficients_ms(prepared: Prepared, settings: Settings) -> Array:
    """The most probable times of the terms that are not negative, by Gauss-Newton steps on the logarithms."""
    factor = np.linalg.cholesky(prepared.unexplained(settings))
    additive_ms, units = prepared.additive_ms, prepared.samples.units
    for _ in range(PASSES):
        slopes, sums = prepared.linearised(additive_ms)
        whitened = solve_triangular(factor, np.column_stack([slopes, sums]), lower=True)
        terms = slopes.shape[1]
        system = np.vstack([whitened[:, :-1], np.eye(terms) / settings.spread])
        wanted = np.concatenate([whitened[:, -1], np.full(terms, 1 / settings.spread)])
        factors, _ = nnls(system, wanted, maxiter=100 * terms)
        weights: Array = factors * prepared.nominal_ms
        additive_ms = units @ weights
    return weights


def log_evidence(prepared: Prepared, settings: Settings) -> float:
    """Log likelihood of the latencies under the settings, up to a constant, linearised at the first fit."""
    slopes, sums = prepared.linearised(prepared.additive_ms)
    covariance = settings.spread**2 * slopes @ slopes.T + prepared.unexplained(settings)
    factor = np.linalg.cholesky(covariance)
    left = solve_triangular(factor, sums - slopes.sum(1), lower=True)
    return float(-0.5 * left @ left - np.log(np.diag(factor)).sum())


def choose_settings(prepared: Prepared) -> Settings:
    """The settings of most evidence among CHOICES, one at a time until none changes."""
    best, evidence = Settings(), log_evidence(prepared, Settings())
    for _ in range(4):
        before = best
        for field in fields(Settings):
            for value in CHOICES[field.name]:
                other = replace(best, **{field.name: value})
                if other != best and (found := log_evidence(prepared, other)) > evidence:
                    best, evidence = other, found
        if best == before:
            break
    return best
