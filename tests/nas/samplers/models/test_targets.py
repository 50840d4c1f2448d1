"""Scales of what is learned, priors that are worth what they explain, and scores before the end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.samplers.models.targets import LEAST_PAIRS, Line, Transform, calibrated_prior, rung_lines

UNITS = st.floats(0, 1)


@given(UNITS, st.sampled_from([None, 0.05]))
def test_targets_lead_back(value: float, offset: float | None) -> None:
    transform = Transform(offset)
    assert transform.back(transform(np.array([value])))[0] == pytest.approx(value, abs=1e-12)


def test_beyond_the_reference_point_all_is_the_same() -> None:
    transform = Transform(0.05)
    assert transform(np.array([1.0, 1.5, 9.0])).tolist() == [np.log(1.05)] * 3


def test_a_line_is_least_squares_with_many_pairs_and_of_slope_1_with_few() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=4000)
    y = 3 + 0.5 * x + random.normal(scale=0.1, size=4000)
    line = Line.through(x, y)
    assert line.slope == pytest.approx(0.5, abs=0.01)
    assert line.variance == pytest.approx(0.01, rel=0.1)
    assert line(np.array([2.0]))[0] == pytest.approx(4.0, abs=0.02)
    assert 0.7 < Line.through(x[:4], 0.5 * x[:4]).slope < 0.8


def test_a_prior_is_worth_what_it_explains() -> None:
    random = np.random.default_rng(1)
    targets = random.normal(size=200)
    right = calibrated_prior(targets + 5, targets + 5, targets)
    assert right == pytest.approx(targets)
    useless = calibrated_prior(targets, random.permutation(targets), targets)
    assert useless.std() < 0.2


def test_priors_that_are_missing() -> None:
    assert calibrated_prior(np.array([np.nan, np.nan]), np.array([np.nan]), np.array([0.5])).tolist() == [0, 0]
    filled = calibrated_prior(np.array([1.0, np.nan, 3.0]), np.array([np.nan]), np.array([0.5]))
    assert filled.tolist() == [1, 2, 3]


def test_a_rung_is_believed_from_enough_pairs_on() -> None:
    pairs = [(0.25, 0.1 * i, 0.1 * i - 0.2) for i in range(LEAST_PAIRS)] + [(0.5, 0.0, 0.0)]
    lines = rung_lines(pairs)
    assert set(lines) == {0.25}
    assert lines[0.25](np.array([0.5]))[0] == pytest.approx(0.3)
    assert lines[0.25].variance == pytest.approx(0, abs=1e-12)
