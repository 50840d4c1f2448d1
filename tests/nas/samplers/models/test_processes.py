"""Predictions against scikit-learn's at the same hyper-parameters, and a grown process against one made at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from nas.samplers.models.evidence import JITTER, Hyperparameters
from nas.samplers.models.processes import GaussianProcess

Floats = np.ndarray
KNOWN = Hyperparameters(0.3, 2.0, -0.2, (0.1, 0.5, -0.3), -4.0)


def observations(n: int, *, seed: int = 0) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 3))
    return features, np.sin(features).sum(axis=1) + 0.1 * random.normal(size=n)


def test_predictions_are_those_of_scikit_learn() -> None:
    features, targets = observations(40)
    extra, new = np.random.default_rng(2).random(40), observations(300, seed=1)[0]
    kernel = ConstantKernel(np.exp(KNOWN.log_variance)) * Matern(np.exp(KNOWN.log_lengths), nu=2.5)
    noise = np.exp(KNOWN.log_noise) + JITTER * np.exp(KNOWN.log_variance) + extra / KNOWN.scale**2
    other = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None)
    other.fit(features, (targets - KNOWN.center) / KNOWN.scale)
    expected_mean, expected_sd = other.predict(new, return_std=True)
    mean, sd = GaussianProcess(KNOWN, features, targets, extra_noise=extra).predict(new)
    assert mean == pytest.approx(expected_mean * KNOWN.scale + KNOWN.center, abs=1e-10)
    assert sd == pytest.approx(expected_sd * KNOWN.scale, abs=1e-10)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans())
def test_a_grown_process_is_one_made_at_once(steps: list[int], priors: bool) -> None:
    n = 10 + sum(steps)
    features, targets = observations(n)
    extra, believed = np.random.default_rng(3).random(n), features[:, 0] if priors else np.zeros(n)
    grown = GaussianProcess(KNOWN, features[:10], targets[:10], extra_noise=extra[:10], prior_mean=believed[:10])
    at = 10
    for step in steps:
        rows = slice(at, at + step)
        before, at = grown, at + step
        grown = before.extended(features[rows], targets[rows], extra_noise=extra[rows], prior_mean=believed[rows])
        assert (len(before), len(grown)) == (rows.start, rows.stop)
    whole = GaussianProcess(KNOWN, features, targets, extra_noise=extra, prior_mean=believed)
    new = observations(20, seed=1)[0]
    assert np.array(grown.predict(new)) == pytest.approx(np.array(whole.predict(new)), abs=1e-12)


def test_what_is_believed_of_a_point_changes_no_mean() -> None:
    """A believer's value is the prediction: the mean stays everywhere, what is unknown shrinks."""
    process, new = GaussianProcess(KNOWN, *observations(30)), observations(50, seed=1)[0]
    believing = process.extended(new[:2], process.predict(new[:2])[0])
    (mean, sd), (same, less) = process.predict(new), believing.predict(new)
    assert same == pytest.approx(mean, abs=1e-12)
    assert (less <= sd + 1e-12).all()
    assert (less[:2] < 0.6 * sd[:2]).all()


def test_noise_is_left_out_of_predictions() -> None:
    """Many noisy observations at one place: their mean, and almost certain."""
    noisy = Hyperparameters(0.0, 1.0, 0.0, (0.0,), 0.0)
    targets = np.random.default_rng(0).normal(size=400) + 2
    mean, sd = GaussianProcess(noisy, np.zeros((400, 1)), targets).predict([[0.0]])
    assert mean[0] == pytest.approx(targets.sum() / 401, abs=1e-3)
    assert sd[0] == pytest.approx(401**-0.5, abs=1e-3)


def test_noisier_observations_count_less() -> None:
    features = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    mean, _ = GaussianProcess(KNOWN, features, [0.0, 1.0], extra_noise=[0.1, 10.0]).predict(features)
    assert mean[0] < 0.1


def test_far_away_only_the_prior_is_known() -> None:
    process = GaussianProcess(KNOWN, *observations(10), prior_mean=np.full(10, 5.0))
    mean, sd = process.predict(np.full((2, 3), 1e3), prior_mean=[7.0, -7.0])
    assert mean == pytest.approx([7 + KNOWN.center, -7 + KNOWN.center])
    assert sd == pytest.approx([np.exp(0.5 * KNOWN.log_variance) * KNOWN.scale] * 2)


def test_a_prior_mean_is_added_after_what_it_leaves_is_modelled() -> None:
    features, targets = observations(20)
    new, believed = observations(5, seed=1)[0], features[:, 0] * 4
    leftover = GaussianProcess(KNOWN, features, targets - believed).predict(new)[0]
    mean, _ = GaussianProcess(KNOWN, features, targets, prior_mean=believed).predict(new, prior_mean=new[:, 0] * 4)
    assert mean == pytest.approx(leftover + new[:, 0] * 4)


def test_rows_that_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match="features, targets: expected equally many rows, got 3, 2"):
        GaussianProcess(KNOWN, np.zeros((3, 3)), [0.0, 1.0])
    with pytest.raises(ValueError, match=r"features: expected shape \(n, 3\)"):
        GaussianProcess(KNOWN, np.zeros((2, 2)), [0.0, 1.0])
    with pytest.raises(ValueError, match="targets: expected finite numbers"):
        GaussianProcess(KNOWN, np.zeros((2, 3)), [0.0, np.inf])


def test_the_mean_alone_is_that_of_a_prediction() -> None:
    process, new = GaussianProcess(KNOWN, *observations(30)), observations(50, seed=1)[0]
    assert process.mean(new) == pytest.approx(process.predict(new)[0], abs=1e-12)
