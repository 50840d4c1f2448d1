"""When the latency model is fitted again."""

from __future__ import annotations

import pytest
from synthetic_machine import CLASSES, drawn, measured

from nas.measuring.latency_refits import GrowingLatencyModel, fitted_to


def test_refits_are_frequent_at_first_and_rare_later() -> None:
    assert [fitted_to(count) for count in range(31)] == list(range(31))
    counts = [fitted_to(count) for count in range(31, 2000)]
    assert all(count / 1.1 - 1 < fitted <= count for count, fitted in zip(range(31, 2000), counts, strict=True))
    assert counts == sorted(counts)
    assert len(set(counts)) < 60


def test_a_model_depends_on_the_trials_alone() -> None:
    samples, candidate = measured(drawn(40)), drawn(1, seed=5)[0]
    fresh = GrowingLatencyModel(CLASSES)
    asked_often = GrowingLatencyModel(CLASSES)
    for count in (2, 5, 12, 33):
        model = asked_often.after(samples[:count])
    found = fresh.after(samples[:35])
    assert model is not None
    assert found is not None
    assert model.samples == found.samples == 33
    assert model.predict(candidate) == pytest.approx(found.predict(candidate), rel=1e-12)
    assert asked_often.after(samples[:34]) is model


def test_another_figure_of_an_earlier_trial_is_another_model() -> None:
    samples = measured(drawn(8))
    growing = GrowingLatencyModel(CLASSES)
    first = growing.after(samples)
    samples[2] = (samples[2][0], samples[2][1] * 1.1)
    assert growing.after(samples) is not first


def test_without_enough_there_is_no_model_and_a_benchmark_is_enough() -> None:
    samples = measured(drawn(8))
    assert GrowingLatencyModel(CLASSES).after(samples[:3]) is None
    model = GrowingLatencyModel(CLASSES, samples).after([])
    assert model is not None
    assert model.samples == 8
