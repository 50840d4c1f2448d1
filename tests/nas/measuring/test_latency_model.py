"""The latency model on a machine whose latencies are known."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_machine import CLASSES, drawn, latency_ms, measured

from nas.measuring.latency_model import FEWEST, MOST, LatencyModel
from nas.measuring.latency_terms import work_of

HELD_OUT = drawn(60, seed=99)


def errors(model: LatencyModel) -> np.ndarray:
    truth = np.array([latency_ms(candidate) for candidate in HELD_OUT])
    return np.log(model.predict_all(HELD_OUT)[:, 0] / truth)


@pytest.fixture(scope="module")
def model() -> LatencyModel:
    return LatencyModel.fit(measured(drawn(48)), CLASSES)


def test_latencies_of_unseen_candidates_are_predicted(model: LatencyModel) -> None:
    assert np.sqrt((errors(model) ** 2).mean()) < 0.03


def test_more_samples_predict_better() -> None:
    few, many = (errors(LatencyModel.fit(measured(drawn(count)), CLASSES)) for count in (6, 64))
    assert (many**2).mean() < (few**2).mean()


@pytest.mark.parametrize("count", [8, 16, 48])
def test_intervals_cover_what_they_say(count: int) -> None:
    covered = []
    for seed in range(3):
        model = LatencyModel.fit(measured(drawn(count, seed=seed), seed=seed), CLASSES)
        ends = model.intervals(HELD_OUT)
        found = np.array([latency for _, latency in measured(HELD_OUT, seed=50 + seed)])
        covered += [(ends[:, 0] <= found) & (found <= ends[:, 1])]
    assert np.mean(covered) > 0.95


def test_the_forms_of_a_prediction_agree(model: LatencyModel) -> None:
    all_of_them = model.predict_all(HELD_OUT)
    works = model.predict_all([work_of(candidate, CLASSES) for candidate in HELD_OUT])
    assert works == pytest.approx(all_of_them)
    assert model.predict(HELD_OUT[0]) == pytest.approx(tuple(all_of_them[0]))
    assert model.interval(HELD_OUT[0]) == pytest.approx(tuple(model.intervals(HELD_OUT)[0]))


def test_a_wider_coverage_is_a_wider_interval(model: LatencyModel) -> None:
    half, most = model.intervals(HELD_OUT, coverage=0.5), model.intervals(HELD_OUT, coverage=0.99)
    assert (most[:, 0] < half[:, 0]).all()
    assert (half[:, 1] < most[:, 1]).all()


@pytest.mark.parametrize("count", [6, 48])
def test_deviations_stand_for_the_intervals(count: int) -> None:
    model = LatencyModel.fit(measured(drawn(count)), CLASSES)
    mean, sd = model.predict_all(HELD_OUT).T
    width = np.sqrt(np.log1p((sd / mean) ** 2)) * 2 * 2.5758  # of a log-normal distribution with this mean and sd
    assert np.log(np.divide(*model.intervals(HELD_OUT).T[::-1])) == pytest.approx(width, rel=1e-3)


def test_only_what_is_slower_lies_above_a_limit_with_its_whole_interval(model: LatencyModel) -> None:
    limit = float(np.median([latency_ms(candidate) for candidate in HELD_OUT]))
    screened = model.intervals(HELD_OUT)[:, 0] > limit
    truth = np.array([latency_ms(candidate) for candidate in HELD_OUT])
    assert 0 < screened.sum() < len(HELD_OUT)
    assert (truth[screened] > limit).all()
    assert screened[truth > 1.5 * limit].all()


def test_equal_samples_give_an_equal_model(model: LatencyModel) -> None:
    again = LatencyModel.fit(measured(drawn(48)), CLASSES)
    assert (again.predict_all(HELD_OUT) == model.predict_all(HELD_OUT)).all()
    model.predict_all(drawn(5, seed=7))  # what was asked before changes nothing
    assert again.predict_all(HELD_OUT) == pytest.approx(model.predict_all(HELD_OUT), rel=1e-12)


def test_a_disturbed_measurement_does_little() -> None:
    samples = measured(drawn(48))
    candidate, latency = samples[7]
    samples[7] = (candidate, 1.6 * latency)
    assert np.sqrt((errors(LatencyModel.fit(samples, CLASSES)) ** 2).mean()) < 0.04


def test_a_benchmark_on_a_slower_day_is_brought_to_the_samples() -> None:
    benchmarked = [(candidate, 1.3 * latency) for candidate, latency in measured(drawn(40))]
    alone = LatencyModel.fit(benchmarked, CLASSES)
    assert np.median(errors(alone)) == pytest.approx(np.log(1.3), abs=0.03)
    both = LatencyModel.fit(measured(drawn(6, seed=1)), CLASSES, benchmarked=benchmarked)
    assert abs(np.median(errors(both))) < 0.02


def test_the_newest_of_very_many_samples_are_all_taken() -> None:
    works = [(work_of(candidate, CLASSES), latency) for candidate, latency in measured(drawn(12))]
    model = LatencyModel.fit([*works] * (MOST // 12 + 9), CLASSES)
    assert model.samples == MOST


def test_too_few_samples_and_impossible_ones_are_refused() -> None:
    with pytest.raises(ValueError, match=f"expected at least {FEWEST} measured candidates, got 3"):
        LatencyModel.fit(measured(drawn(3)), CLASSES)
    samples = [(candidate, float("nan")) for candidate in drawn(8)]
    with pytest.raises(ValueError, match="expected latencies above 0 ms, got nan"):
        LatencyModel.fit(samples, CLASSES)
