"""The analytic rank: signal above the noise is found, and the free energy is least where it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from compressors.low_rank.vbmf import free_energy, noise_variance, rank_by_vbmf, threshold


def noisy(seed: int, rows: int, columns: int, rank: int, noise: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, columns)) + noise * rng.normal(size=(rows, columns))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 5), st.sampled_from([(30, 60), (60, 30), (24, 216)]))
def test_the_rank_of_a_signal_in_noise(seed: int, rank: int, sizes: tuple[int, int]) -> None:
    assert rank_by_vbmf(noisy(seed, *sizes, rank, 0.3)) == rank


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_rank_does_not_depend_on_the_scale(scale: float) -> None:
    assert rank_by_vbmf(scale * noisy(1, 16, 40, 3, 0.4)) == 3


def test_matrices_without_noise_or_without_anything() -> None:
    assert rank_by_vbmf(noisy(0, 10, 20, 2, 0.0)) == 2
    assert rank_by_vbmf(np.zeros((4, 5))) == 0
    assert rank_by_vbmf(np.ones((1, 7))) == 1


def test_a_weak_signal_is_noise() -> None:
    """Below the edge of the noise's singular values, sqrt(rows) + sqrt(columns), no signal can be told."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(50, 100))
    direction = np.outer(np.eye(50)[0], np.eye(100)[0])
    assert rank_by_vbmf(noise + 5 * direction) == 0
    assert rank_by_vbmf(noise + 40 * direction) == 1


def test_the_variance_is_that_of_the_noise_and_of_least_free_energy() -> None:
    matrix = noisy(3, 40, 120, 4, 0.7)
    values = np.linalg.svd(matrix, compute_uv=False)
    found = noise_variance(values, 120)
    assert found == pytest.approx(0.49, rel=0.06)
    squares = values**2 / 120
    around = np.linspace(0.5 * found, 1.5 * found, 2001)
    assert free_energy(found, squares, 1 / 3) <= min(free_energy(v, squares, 1 / 3) for v in around) + 1e-6


def test_the_threshold_is_the_papers() -> None:
    """x = (1 + t)(1 + a / t) with phi(t) + phi(t / a) = 0; t is 2.5129 sqrt(a) roughly."""
    for rows, columns in ((10, 10), (10, 40), (3, 300)):
        ratio = rows / columns
        exact = brentq(lambda t, a=ratio: np.log1p(t) / t + np.log1p(t / a) / (t / a) - 1, 1e-6, 20)
        expected = np.sqrt(columns * 0.5 * (1 + exact) * (1 + ratio / exact))
        assert threshold(0.5, rows, columns) == pytest.approx(expected, rel=1e-9)
        assert exact == pytest.approx(2.5129 * np.sqrt(ratio), rel=0.15)
