"""The density of hyper-parameters against scipy's, its gradient against differences, and what a fit finds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm
from sklearn.gaussian_process.kernels import Matern

from nas.samplers.models.evidence import JITTER, Evidence, Hyperparameters, fit_hyperparameters, squared_distances

Floats = np.ndarray
GROUPS = np.array([0, 0, 1, 2, 2, 3])


def observations(n: int, *, seed: int = 0, noise: float = 0.1) -> tuple[Floats, Floats]:
    """Six features, of which the first two count."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 6))
    return features, np.sin(2 * features[:, 0]) + 0.5 * features[:, 1] + noise * random.normal(size=n)


def evidence(n: int = 25) -> Evidence:
    features, targets = observations(n)
    extra = np.random.default_rng(1).random(n) * 0.2
    return Evidence(features, (targets - targets.mean()) / targets.std(), extra, GROUPS)


def around_the_prior(seed: int) -> Floats:
    its = evidence()
    return its.prior_mean + 0.7 * its.prior_sd * np.random.default_rng(seed).normal(size=6)


@given(st.integers(0, 10**6))
def test_the_gradient_is_that_of_differences(seed: int) -> None:
    its, parameters, step = evidence(), around_the_prior(seed), 1e-5
    expected = [
        (its.loss(parameters + step * axis)[0] - its.loss(parameters - step * axis)[0]) / (2 * step)
        for axis in np.eye(6)
    ]
    assert its.loss(parameters)[1] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_loss_is_the_density_of_targets_and_priors() -> None:
    its = evidence()

    def log_density(parameters: Floats) -> float:
        variance, noise = np.exp(parameters[0]), np.exp(parameters[-1])
        covariance = variance * Matern(np.exp(parameters[1:-1])[GROUPS], nu=2.5)(its.features)
        covariance += np.diag(noise + its.extra_noise + JITTER * variance)
        prior = norm.logpdf(parameters, its.prior_mean, its.prior_sd).sum()
        return float(multivariate_normal.logpdf(its.targets, np.zeros(25), covariance) + prior)

    first, second = around_the_prior(0), around_the_prior(1)
    assert its.loss(second)[0] - its.loss(first)[0] == pytest.approx(log_density(first) - log_density(second))


def test_a_fit_is_a_minimum() -> None:
    features, targets = observations(50)
    fitted = fit_hyperparameters(features, targets, groups=GROUPS, steps=200)
    standardized = (targets - fitted.center) / fitted.scale
    its = Evidence(features, standardized, np.zeros(50), GROUPS)
    loss, gradient = its.loss(its.parameters_of(fitted))
    assert np.abs(gradient).max() < 0.05
    assert all(
        loss < its.loss(its.parameters_of(fitted) + shift)[0] for shift in 0.3 * np.vstack([np.eye(6), -np.eye(6)])
    )


def test_a_fit_tells_the_features_that_count_and_the_noise() -> None:
    features, targets = observations(120, noise=0.2)
    fitted = fit_hyperparameters(features, targets)
    assert max(fitted.log_lengths[:2]) < min(fitted.log_lengths[2:])
    assert np.exp(0.5 * fitted.log_noise) * fitted.scale == pytest.approx(0.2, rel=0.3)


def test_noise_known_beforehand_is_not_learned_again() -> None:
    features, targets = observations(120, noise=0.2)
    known = fit_hyperparameters(features, targets, extra_noise=np.full(120, 0.2**2))
    assert known.log_noise < fit_hyperparameters(features, targets).log_noise - 1


def test_features_of_a_group_share_their_length() -> None:
    lengths = fit_hyperparameters(*observations(30), groups=[7, 3, 7, 3, 3, 1]).log_lengths
    assert len(set(lengths)) == 3
    assert lengths[0] == lengths[2]
    assert lengths[1] == lengths[3] == lengths[4]


def test_only_what_a_prior_mean_leaves_is_fitted() -> None:
    features, targets = observations(30)
    believed = 3 + 10 * features[:, 4]
    fitted = fit_hyperparameters(features, targets + believed, prior_mean=believed)
    plain = fit_hyperparameters(features, targets)
    assert fitted.log_lengths == pytest.approx(plain.log_lengths, abs=1e-3)
    assert (fitted.center, fitted.scale) == pytest.approx((plain.center, plain.scale))


def test_a_start_that_is_the_result_stays() -> None:
    features, targets = observations(60)
    first = fit_hyperparameters(features, targets, steps=200)
    second = fit_hyperparameters(features, targets, start=first, steps=5)
    assert second.log_lengths == pytest.approx(first.log_lengths, abs=0.05)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_or_equal_targets_give_the_prior(n: int) -> None:
    features = np.zeros((n, 2))
    fitted = fit_hyperparameters(features, np.full(n, 3.0))
    assert (fitted.center, fitted.scale) == (3.0, 1.0)
    assert np.isfinite([fitted.log_variance, *fitted.log_lengths, fitted.log_noise]).all()


def test_no_feature_at_all_is_a_constant() -> None:
    assert fit_hyperparameters(np.empty((4, 0)), [1.0, 2.0, 3.0, 4.0]).log_lengths == ()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=9))
def test_json_gives_back_every_bit(numbers: list[float]) -> None:
    center, scale, variance, *lengths, noise = [*numbers, 1.0]
    before = Hyperparameters(center, scale, variance, tuple(lengths), noise)
    assert Hyperparameters.from_json(json.loads(json.dumps(before.to_json()))) == before


@pytest.mark.parametrize("written", [{}, {"center": 0.0}, {**Hyperparameters(0, 1, 0, (), 0).to_json(), "more": 1}])
def test_other_json_is_refused(written: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match="hyper-parameters: expected center, log_lengths"):
        Hyperparameters.from_json(written)


def test_wrong_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="features, targets: expected equally many rows, at least 1, got 3, 2"):
        fit_hyperparameters(np.zeros((3, 1)), [0.0, 1.0])
    with pytest.raises(ValueError, match="targets: expected finite numbers"):
        fit_hyperparameters(np.zeros((2, 1)), [0.0, np.nan])
    with pytest.raises(ValueError, match=r"features: expected shape \(n, 2\), got \(3, 1\)"):
        Hyperparameters(0, 1, 0, (0.0, 0.0), 0).scaled(np.zeros((3, 1)))


def test_distances() -> None:
    left, right = np.random.default_rng(0).normal(size=(4, 3)), np.random.default_rng(1).normal(size=(5, 3))
    expected = ((left[:, None] - right[None]) ** 2).sum(axis=2)
    assert squared_distances(left, right) == pytest.approx(expected)
    assert (squared_distances(left * 1e8, left * 1e8) >= 0).all()
