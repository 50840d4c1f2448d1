"""The gain still expected of a search, by hand."""

from __future__ import annotations

import pytest

from nas.expected_gain import RECENT_ASKS, gain_per_hour, relative_gain


def test_relative_to_the_present_hypervolume() -> None:
    assert relative_gain({"gain": 0.01, "hypervolume": 0.5}) == pytest.approx(0.02)
    assert relative_gain({"gain": 0.01, "hypervolume": 0.0}) is None
    assert relative_gain(None) is None


def test_of_an_hour() -> None:
    # 36 seconds a trial are a hundred an hour, of two workers two hundred.
    gains = [None, 0.9, *[0.001] * (RECENT_ASKS // 2), *[0.002] * (RECENT_ASKS // 2)]
    assert gain_per_hour(gains, [36.0] * 9) == pytest.approx(0.15)
    assert gain_per_hour(gains, [None, 24.0, 48.0], workers=2) == pytest.approx(0.3)


def test_one_surprise_changes_little() -> None:
    calm = [0.001] * RECENT_ASKS
    assert gain_per_hour([*calm, 5.0], [1.0]) == gain_per_hour(calm, [1.0])


def test_too_little_is_known() -> None:
    assert gain_per_hour([0.1] * (RECENT_ASKS - 1) + [None], [1.0]) is None
    assert gain_per_hour([0.1] * RECENT_ASKS, []) is None
    assert gain_per_hour([], [1.0]) is None


def test_only_the_newest_trials_tell_what_one_takes() -> None:
    assert gain_per_hour([0.1] * 8, [1e9] * 5 + [1.0] * 32) == pytest.approx(360)
