"""The latency model's arithmetic against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.gaussian_process.kernels import Matern
from synthetic_machine import CLASSES, drawn, measured

from nas.measuring.latency_kriging import Fitted
from nas.measuring.latency_regression import (
    CHOICES,
    Prepared,
    Samples,
    Settings,
    choose_settings,
    coefficients_ms,
    log_evidence,
    prepare,
    shares_of,
)
from nas.measuring.latency_similarity import similarities
from nas.measuring.latency_terms import Kernel, Work, work_of

SETTINGS = Settings(spread=0.7, correction=0.2, reach=1.5, noise=0.02)


@pytest.fixture(scope="module")
def works() -> list[Work]:
    return [work_of(candidate, CLASSES) for candidate in drawn(24)]


@pytest.fixture(scope="module")
def prepared(works: list[Work]) -> Prepared:
    return prepare(Samples.of(works, [latency for _, latency in measured(drawn(24))]))


def test_similarities_are_materns_within_a_kind_and_zero_between_kinds() -> None:
    random = np.random.default_rng(0)
    kernels = [Kernel("ab"[i % 2], tuple(random.normal(size=3))) for i in range(9)]
    shapes = np.array([kernel.shape for kernel in kernels])
    same = np.array([[a.kind == b.kind for b in kernels] for a in kernels])
    expected = Matern(length_scale=1.7, nu=2.5)(shapes) * same
    assert similarities(kernels, kernels, 1.7) == pytest.approx(expected, abs=1e-7)


def test_shares_sum_to_one_and_are_the_kernels_own(works: list[Work]) -> None:
    weights = np.random.default_rng(0).random(len(works[0].total))
    for work in works:
        shares = shares_of(work, weights)
        assert shares.sum() == pytest.approx(1)
        first = work.rows == 0
        assert shares[0] == pytest.approx(work.values[first] @ weights[work.columns[first]] / (work.total @ weights))


def test_correlations_of_samples_are_those_of_all_pairs_of_kernels(works: list[Work]) -> None:
    samples = Samples.of(works[:3], [1.0, 1.0, 1.0])
    weights = np.random.default_rng(0).random(len(works[0].total))
    alike = similarities(samples.kernels, samples.kernels, 2.0)
    found = samples.correlated(weights, alike)
    for i, one in enumerate(works[:3]):
        for j, other in enumerate(works[:3]):
            pairs = similarities(one.kernels, other.kernels, 2.0)
            assert found[i, j] == pytest.approx(shares_of(one, weights) @ pairs @ shares_of(other, weights))


def test_evidence_is_the_density_of_the_latencies_under_the_prior(prepared: Prepared) -> None:
    slopes, sums = prepared.linearised(prepared.additive_ms)
    covariance = SETTINGS.spread**2 * slopes @ slopes.T + prepared.unexplained(SETTINGS)
    density = multivariate_normal(slopes.sum(1), covariance).logpdf(sums)
    constant = 0.5 * len(sums) * np.log(2 * np.pi)
    assert log_evidence(prepared, SETTINGS) == pytest.approx(density + constant)


def test_settings_are_the_best_of_their_neighbours(prepared: Prepared) -> None:
    best = choose_settings(prepared)
    evidence = log_evidence(prepared, best)
    for name, values in CHOICES.items():
        for value in values:
            assert log_evidence(prepared, replace(best, **{name: value})) <= evidence


def test_times_are_not_negative_and_no_small_change_is_more_probable(prepared: Prepared) -> None:
    times = coefficients_ms(prepared, SETTINGS)
    assert (times >= 0).all()
    precision = np.linalg.inv(prepared.unexplained(SETTINGS))

    def loss(candidate_ms: np.ndarray) -> float:
        off = np.log(prepared.samples.latency_ms / (prepared.samples.units @ candidate_ms))
        prior = (candidate_ms / prepared.nominal_ms - 1) / SETTINGS.spread
        return float(off @ precision @ off + prior @ prior)

    least = loss(times)
    random = np.random.default_rng(0)
    for _ in range(50):
        step = 0.05 * prepared.nominal_ms * random.standard_normal(len(times))
        assert loss(np.maximum(times + step, 0)) >= least - 1e-6


def test_predictions_are_the_posterior_of_the_whole_model(prepared: Prepared, works: list[Work]) -> None:
    """Mean and variance once more, from the joint covariance of old and new networks."""
    fitted = Fitted(prepared, SETTINGS)
    new = [work_of(candidate, CLASSES) for candidate in drawn(5, seed=1)]
    every = [*works, *new]
    n, weights = len(works), fitted.weights_ms
    samples = Samples.of(every, np.ones(len(every)))
    additive_ms = samples.units @ weights
    correlated = samples.correlated(weights, similarities(samples.kernels, samples.kernels, SETTINGS.reach))
    slopes = samples.units * prepared.nominal_ms / additive_ms[:, None]
    correction = SETTINGS.correction**2 * correlated
    noise = np.diag((SETTINGS.noise * prepared.stretch) ** 2)
    off = np.log(prepared.samples.latency_ms / additive_ms[:n])
    mean = np.log(additive_ms[n:]) + correction[n:, :n] @ np.linalg.solve(correction[:n, :n] + noise, off)
    joint = SETTINGS.spread**2 * slopes @ slopes.T + correction
    known = joint[n:, :n] @ np.linalg.solve(joint[:n, :n] + noise, joint[:n, n:])
    variance = np.diag(joint[n:, n:] - known) + SETTINGS.noise**2
    found_mean, found_sd = fitted.predict(new)
    assert found_mean == pytest.approx(mean, abs=1e-8)
    assert found_sd**2 == pytest.approx(variance, abs=1e-8)


def test_a_part_of_the_samples_is_what_they_alone_would_be(prepared: Prepared) -> None:
    rows = np.arange(24) % 3 > 0
    part = prepared.some(rows)
    whole = prepared.unexplained(SETTINGS)
    assert part.unexplained(SETTINGS) == pytest.approx(whole[np.ix_(rows, rows)])
    assert len(part.samples.works) == len(part.samples.places) == rows.sum()


def test_what_stands_out_is_taken_for_noisier(works: list[Work]) -> None:
    latencies = np.array([latency for _, latency in measured(drawn(24), noise=0.0)])
    latencies[5] *= 1.5
    stretch = prepare(Samples.of(works, latencies)).stretch
    assert stretch.argmax() == 5
    assert stretch[5] > 2
    assert np.delete(stretch, 5).max() < stretch[5] / 2
