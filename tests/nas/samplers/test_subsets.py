"""Which observations a process rests on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.samplers.subsets import near_rows, spread_rows

Floats = np.ndarray


def features(n: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(n, 4))


@given(st.integers(0, 40), st.integers(1, 40), st.data())
def test_rows_are_distinct_rising_and_as_many_as_asked(n: int, size: int, data: st.DataObject) -> None:
    given_rows = data.draw(st.lists(st.integers(0, n - 1), max_size=size)) if n else []
    for chosen in (spread_rows(features(n), size, first=given_rows), near_rows(features(n), size, around=given_rows)):
        assert len(chosen) == min(n, size)
        assert (np.diff(chosen) > 0).all()
        assert set(chosen.tolist()) <= set(range(n))
    assert set(given_rows) <= set(spread_rows(features(n), size, first=given_rows).tolist())


def test_far_rows_are_among_the_spread_ones() -> None:
    x = features(500)
    x[[100, 200, 300]] = 30 * np.eye(4)[:3]
    assert {100, 200, 300} <= set(spread_rows(x, 20).tolist())


def test_a_clump_is_thinned_by_half_at_least() -> None:
    x = features(400)
    x[:200] = 1e-3 * x[:200]
    assert (spread_rows(x, 60) < 200).sum() <= 20


@pytest.mark.parametrize("around", [[5], [5, 130]])
def test_three_quarters_are_the_closest(around: list[int]) -> None:
    x = features(600)
    distances = np.linalg.norm(x[:, None] - x[around], axis=2).min(axis=1)
    closest = np.argsort(distances)[:75]
    chosen = near_rows(x, 100, around=around)
    assert set(closest.tolist()) <= set(chosen.tolist())
    assert np.diff(chosen).max() < 80  # the others are from everywhere


def test_repeated_rows_are_taken_latest_first() -> None:
    chosen = near_rows(np.zeros((20, 3)), 8, around=[0])
    assert set(chosen.tolist()) >= {15, 16, 17, 18, 19}


def test_nothing_to_be_near_is_a_spread_choice() -> None:
    assert near_rows(features(100), 5, around=[]).tolist() == [0, 25, 50, 74, 99]
