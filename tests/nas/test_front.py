"""The front of plain values: against brute force, and in a fixed order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.front import beyond_all, front, front_subset, fronts
from nas.pareto import hypervolume

values = st.lists(st.tuples(st.integers(0, 5).map(lambda n: n / 5), st.integers(1, 6), st.integers(1, 6)), max_size=14)
OBJECTIVES = ("accuracy", "macs", "latency_ms@ov")


def better(a: tuple[float, int, int], b: tuple[float, int, int]) -> bool:
    return a != b and a[0] >= b[0] and a[1] <= b[1] and a[2] <= b[2]


@given(values)
def test_the_front_is_what_nothing_dominates_best_first(told: list[tuple[float, int, int]]) -> None:
    found = front(told, OBJECTIVES)
    assert sorted(found) == [i for i, one in enumerate(told) if not any(better(other, one) for other in told)]
    assert found == sorted(found, key=lambda i: (-told[i][0], told[i][1], told[i][2], i))


@given(values)
def test_fronts_take_all_points_front_by_front(told: list[tuple[float, int, int]]) -> None:
    points = [(-accuracy, macs, latency) for accuracy, macs, latency in told]
    left = list(range(len(told)))
    for found in fronts(points):
        assert found.tolist() == [i for i in left if not any(better(told[j], told[i]) for j in left)]
        left = [i for i in left if i not in found]
    assert not left


def test_log_loss_orders_members_of_equal_quality_and_nothing_else() -> None:
    told = [(0.9, 10, 30), (0.9, 20, 20), (0.9, 30, 10), (0.9, 40, 40), (0.8, 1, 1)]
    assert front(told, OBJECTIVES, [0.5, 0.2, None, 0.1, 0.0]) == [1, 0, 2, 4]
    assert front(told, OBJECTIVES, [0.5, 0.2, float("nan"), 0.1, 0.0]) == [1, 0, 2, 4]
    assert front([one[1:] for one in told[:3]], OBJECTIVES[1:], [0.5, 0.2, 0.1]) == [0, 1, 2]


def test_nothing_has_no_front() -> None:
    assert front([], OBJECTIVES) == []
    assert list(fronts([])) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=7), st.integers(1, 7))
def test_a_subset_has_the_most_accurate_and_then_the_most_volume(found: list[tuple[int, int]], wanted: int) -> None:
    """Greedy by brute force: the next one is that with which the volume is largest."""
    points = np.array(found, dtype=np.float64)
    chosen = front_subset(points, ("accuracy", "size_bytes"), wanted)
    limit = beyond_all(points)
    assert len(set(chosen)) == len(chosen) == min(wanted, len(points))
    assert points[chosen[0], 0] == points[:, 0].min()
    for k in range(1, len(chosen)):
        others = [i for i in range(len(points)) if i not in chosen[:k]]
        best = max(hypervolume(points[[*chosen[:k], i]], limit) for i in others)
        assert hypervolume(points[chosen[: k + 1]], limit) == pytest.approx(best)
