"""Ranges from histograms: equal to ONNX Runtime's calibrators and to brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.quantization.calibrate import HistogramCollector

from compressors.formats import UNSIGNED_8, ActivationScheme
from compressors.quantization.activations import ActivationQuantizer
from compressors.quantization.ranges import (
    CALIBRATIONS,
    Histogram,
    bins_of,
    calibration_named,
    entropy_range,
    entropy_threshold,
    levels_of,
    minmax_range,
    mse_range,
    on_grid,
    percentile_range,
)

SIGNED = ActivationScheme(signed=True)
SCHEMES = [UNSIGNED_8, SIGNED, ActivationScheme(signed=True, symmetric=True), ActivationScheme(bits=4)]


def histogram(values: np.ndarray, bins: int) -> Histogram:
    side = float(np.abs(values).max())
    counts, edges = np.histogram(values, bins, (-side, side))
    return Histogram(counts.astype(np.float64), edges, float(values.min()), float(values.max()))


def normal(count: int = 200_000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1.0, count)


@pytest.mark.parametrize("seed", range(3))
def test_the_percentile_is_that_of_onnx_runtime(seed: int) -> None:
    values = normal(seed=seed)
    seen = histogram(values, 2001)
    collector = HistogramCollector("percentile", False, 2001, 128, 99.9, None)
    collector.histogram_dict = {"x": (seen.counts, seen.edges, values.min(), values.max(), 1.0)}
    low, high, *_ = collector.compute_percentile()["x"]
    assert percentile_range(seen, UNSIGNED_8, percentile=99.9) == (pytest.approx(low), pytest.approx(high))
    assert seen.low < low < -2
    assert 2 < high < seen.high


@pytest.mark.parametrize(("bins", "levels"), [(301, 51), (215, 33), (201, 64)])
def test_the_entropy_threshold_is_that_of_onnx_runtime(bins: int, levels: int) -> None:
    """Of counts so large that its rounding of them to whole numbers does not tell, without empty bins."""
    centres = np.linspace(-1, 1, bins)
    counts = np.round(1e12 * np.exp(-0.5 * (centres / 0.15) ** 2)) + 1e6
    edges = np.linspace(-1, 1, bins + 1)
    collector = HistogramCollector("entropy", True, bins, levels, 99.9, None)
    low, high = collector.get_entropy_threshold((counts.astype(np.int64), edges, -1.0, 1.0, 1.0), levels)
    found = entropy_threshold(counts, edges, levels)
    assert (-found, found) == (pytest.approx(low), pytest.approx(high))
    assert 0.2 < found < 1


def test_a_stride_looks_at_fewer_thresholds() -> None:
    seen = histogram(normal(), 15 * 9)
    each = {entropy_threshold(seen.counts, seen.edges, 15, stride=stride) for stride in (1, 15)}
    allowed = seen.edges[[67 + side + 1 for side in range(7, 68, 15)]]
    assert min(each) > 0
    assert np.isclose(allowed, entropy_threshold(seen.counts, seen.edges, 15, stride=15)).any()


def test_minmax_is_all_there_is() -> None:
    assert minmax_range(Histogram(np.ones(1), np.array([-1.0, 1.0]), -0.25, 0.75), UNSIGNED_8) == (-0.25, 0.75)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_mse_has_the_least_error_of_what_it_tries(scheme: ActivationScheme) -> None:
    """Against a loop over ends; a long tail is worth clipping, the more the fewer bits there are."""
    values = np.abs(np.random.default_rng(1).laplace(0, 1, 20_000))
    seen = histogram(values, bins_of(0.0, scheme))

    def error(high: float) -> float:
        return float(np.mean((on_grid(values, 0.0, high, scheme) - values) ** 2))

    low, high = mse_range(seen, scheme)
    assert 0 <= low < 1e-4
    assert high < seen.high
    ends = [seen.high * share for share in np.linspace(1.0, 0.2, 41)]
    assert error(high) <= 1.02 * min(map(error, ends))
    assert error(high) < (0.6 if scheme.bits == 4 else 1.0) * error(seen.high)


@given(st.sampled_from(SCHEMES), st.floats(-3, 0), st.floats(0.1, 5))
def test_a_grid_holds_zero_and_rounds_by_half_a_step(scheme: ActivationScheme, low: float, high: float) -> None:
    values = np.linspace(low, high, 50)
    side, steps = (max(-low, high), scheme.high) if scheme.symmetric else (high - low, scheme.levels)
    found = on_grid(np.append(values, 0.0), low, high, scheme)
    assert found[-1] == 0
    assert np.abs(found[:-1] - values).max() <= side / steps * (1.01 if not scheme.symmetric else 0.51)


@pytest.mark.parametrize("low", [-1.3, 0.0])
@pytest.mark.parametrize("powers_of_two", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_a_grid_is_that_which_the_network_gets(scheme: ActivationScheme, powers_of_two: bool, low: float) -> None:
    scheme, values = replace(scheme, powers_of_two=powers_of_two), np.linspace(-2, 3, 400)
    quantizer = ActivationQuantizer(scheme=scheme)
    quantizer.set_range(low, 2.1)
    expected = quantizer(torch.from_numpy(values).float()).numpy()
    assert (np.abs(on_grid(values, low, 2.1, scheme) - expected) < 1e-6).mean() > 0.99  # ties apart


def test_entropy_clips_outliers_and_not_the_rest() -> None:
    values = np.append(normal(), 40.0)
    seen = histogram(values, bins_of(float(values.min()), SIGNED))
    low, high = entropy_range(seen, SIGNED)
    assert low == seen.low
    assert 3 < high < 20


def test_zeros_do_not_narrow_the_range() -> None:
    """Behind a ReLU half of the values are 0."""
    values = np.maximum(normal(), 0)
    assert entropy_range(histogram(values, bins_of(0.0, UNSIGNED_8)), UNSIGNED_8)[1] > 2.5


def test_of_few_values_the_range_is_whole() -> None:
    values = np.abs(normal(100))
    assert entropy_range(histogram(values, bins_of(0.0, UNSIGNED_8)), UNSIGNED_8) == (values.min(), values.max())


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_bins_are_an_odd_multiple_of_steps(scheme: ActivationScheme) -> None:
    for low in (-1.0, 0.0):
        assert bins_of(low, scheme) % 2 == levels_of(low, scheme) % 2 == 1
        assert bins_of(low, scheme) % levels_of(low, scheme) == 0


def test_a_calibration_is_a_row() -> None:
    assert list(CALIBRATIONS) == ["minmax", "percentile", "mse", "entropy"]
    with pytest.raises(ValueError, match="calibration: expected one of minmax, percentile, mse, entropy, got 'kl'"):
        calibration_named("kl")
