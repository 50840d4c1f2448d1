"""The gain still expected of a search, by hand and by adding up what a known decay would bring."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.expected_gain import FASTEST, RECENT_ASKS, decay, gain_per_hour, relative_gain


def test_relative_to_the_present_hypervolume() -> None:
    assert relative_gain({"gain": 0.01, "hypervolume": 0.5}) == pytest.approx(0.02)
    assert relative_gain({"gain": 0.01, "hypervolume": 0.0}) is None
    assert relative_gain(None) is None


def test_what_does_not_fall_is_added_up() -> None:
    # 36 seconds a trial are a hundred an hour, of two workers two hundred.
    gains = [None, *[0.001] * RECENT_ASKS]
    assert gain_per_hour(gains, [36.0] * 9) == pytest.approx(0.1)
    assert gain_per_hour(gains, [None, 24.0, 48.0], workers=2) == pytest.approx(0.2)
    assert gain_per_hour([0.1 * n for n in range(1, 9)], [3600.0]) == pytest.approx(0.45)


@given(st.floats(0.2, 3.5), st.integers(10, 200), st.floats(1, 3000))
def test_what_falls_as_a_power_of_the_number_goes_on_to_fall(exponent: float, done: int, seconds: float) -> None:
    gains = [n**-exponent for n in range(1, done + 1)]
    assert decay(list(enumerate(gains, 1))) == pytest.approx(exponent)
    more = 3600 / seconds
    middle = sorted(gains[-RECENT_ASKS:])
    level = (middle[3] + middle[4]) / 2
    steps = 4000
    parts = [(1 + more * (k + 0.5) / steps / done) ** -exponent * more / steps for k in range(steps)]
    assert gain_per_hour(gains, [seconds]) == pytest.approx(level * sum(parts), rel=0.02)


def test_an_hour_of_many_trials_is_no_multiple_of_the_last() -> None:
    gains = [1 / n for n in range(1, 41)]
    many = gain_per_hour(gains, [1.0])
    assert many is not None
    assert many < 0.05 * 3600 * gains[-1] * 2


def test_one_surprise_changes_little() -> None:
    calm = [0.001] * 30
    assert gain_per_hour([*calm, 5.0], [3600.0]) == pytest.approx(gain_per_hour(calm, [3600.0]), rel=0.1)


def test_decays_are_between_none_and_the_fastest() -> None:
    assert decay([(1, 0.1)]) == decay([(1, 0.0), (2, 0.1)]) == decay([(1, 0.1), (2, 0.2)]) == 0
    assert decay([(1, 1.0), (2, 1e-9)]) == FASTEST
    assert gain_per_hour([0.0] * RECENT_ASKS, [1.0]) == 0


def test_too_little_is_known() -> None:
    assert gain_per_hour([0.1] * (RECENT_ASKS - 1) + [None], [1.0]) is None
    assert gain_per_hour([0.1] * RECENT_ASKS, []) is None
    assert gain_per_hour([], [1.0]) is None


def test_only_the_newest_trials_tell_what_one_takes() -> None:
    assert gain_per_hour([0.1] * 8, [1e9] * 5 + [1.0] * 32) == pytest.approx(360)
