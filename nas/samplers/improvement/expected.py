"""Expected hypervolume improvement in closed form, for objectives that are exact and objectives that are learned.

Everything is minimised and scaled so that the reference point is 1 in every objective. With T of `attainment`, a
candidate of values (a, c) improves the hypervolume by the integral of max(0, T(y) - a) over y in [c, 1]. As T is a
step function and the objectives are independent, the expectation is

    sum over T's boxes [l, u) of  Psi_0(T) * product over i of (Psi_i(u_i) - Psi_i(l_i)),   Psi_i(t) = E max(0, t - x_i)

where an exact objective is one without spread: Psi(t) = max(0, t - x). Nothing is sampled and no term is negative.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, ndtr

from nas.samplers.improvement.attainment import Attainment

Floats = NDArray[np.float64]

ROWS = 64  # candidates at a time, so that what is computed for every box stays in a core's cache
TINY = 1e-100  # stands for a standard deviation of 0: quotients and their squares are still numbers
LARGE = 30.0  # above this exponent, products of exponentials are taken in the logarithm


def expected_improvement(
    front: ArrayLike | Attainment,
    costs: ArrayLike,
    mean: ArrayLike,
    sd: ArrayLike,
    *,
    offset: float | Sequence[float | None] | None,
) -> Floats:
    """Expected growth of the hypervolume by each of n candidates, shape (n,).

    `front` has shape (m, q + k): q learned objectives, then k exact ones. `costs` has shape (n, k), `mean` and `sd`
    (n,) or (n, q). A learned objective x is normal where its offset is None, else log(x + offset) is; one offset
    stands for all of them. Raises ValueError where shapes disagree.
    """
    attained = front if isinstance(front, Attainment) else Attainment.of(front)
    exact, means, sds = _columns(costs), _columns(mean), _columns(sd)
    n, learned = means.shape
    if means.shape != sds.shape or len(exact) != n or learned + exact.shape[1] != len(attained.values) or not learned:
        raise ValueError(
            f"costs, mean, sd: expected {len(attained.values)} objectives of equally many candidates, "
            f"got shapes {exact.shape}, {means.shape}, {sds.shape}"
        )
    offsets = [offset] * learned if offset is None or isinstance(offset, int | float) else list(offset)
    if len(offsets) != learned:
        raise ValueError(f"offset: expected {learned} values, got {len(offsets)}")
    found = np.empty(n)
    for rows in (slice(start, start + ROWS) for start in range(0, n, ROWS)):
        margins = [
            expected_margin(attained.values[i], means[rows, i], sds[rows, i], offset=offsets[i]) for i in range(learned)
        ]
        margins += [
            np.maximum(0.0, values[:, None] - cost)
            for values, cost in zip(attained.values[learned:], exact[rows].T, strict=True)
        ]
        found[rows] = attained.integral(margins)
    return found


def expected_margin(thresholds: Floats, mean: Floats, sd: Floats, *, offset: float | None) -> Floats:
    """E max(0, t - x) for v thresholds, which may be -inf, and n variables: shape (v, n).

    x ~ N(mean, sd^2) where `offset` is None, else log(x + offset) ~ N(mean, sd^2).
    """
    spread, reached = np.maximum(sd, TINY), np.isfinite(thresholds)
    t = np.where(reached, thresholds, 0.0)[:, None]
    if offset is None:
        z = (t - mean) / spread
        margin = (t - mean) * ndtr(z) + spread * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    else:
        t = np.maximum(0.0, t + offset)  # x cannot be less than -offset
        with np.errstate(divide="ignore"):
            z = (np.log(t) - mean) / spread
        margin = t * ndtr(z) - _scaled_ndtr(mean + 0.5 * sd * sd, z - sd)
    result: Floats = np.where(reached[:, None], np.maximum(0.0, margin), 0.0)
    return result


def probability_feasible(mean: ArrayLike, sd: ArrayLike) -> Floats:
    """Probability that all constraints hold, shape (n,): independent, normal, held where not positive.

    `mean` and `sd` have shape (n, c). Without spread it is 0 or 1.
    """
    means, sds = _columns(mean), _columns(sd)
    with np.errstate(over="ignore"):
        held: Floats = np.where(sds > 0, ndtr(-means / np.maximum(sds, TINY)), means <= 0).prod(axis=1)
    return held


def _scaled_ndtr(exponent: Floats, z: Floats) -> Floats:
    """exp(exponent) * Phi(z) for exponents of shape (n,) and z of shape (v, n), also where the first overflows."""
    scaled: Floats = np.exp(np.minimum(exponent, LARGE)) * ndtr(z)
    large = exponent > LARGE
    if large.any():
        scaled[:, large] = np.exp(exponent[large] + log_ndtr(z[:, large]))
    return scaled


def _columns(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"expected an array of shape (n,) or (n, columns), got shape {array.shape}")
    return array
