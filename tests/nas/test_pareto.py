"""Dominance, hypervolume and thinning against brute force on integer grids."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.pareto import hypervolume, hypervolume_subset, non_dominated

SIDE = 4
Rows = list[tuple[int, ...]]


@st.composite
def grids(draw: st.DrawFn, min_size: int = 0) -> tuple[Rows, int]:
    """Integer points in 1 to 5 objectives; some lie on or beyond the reference point (SIDE, ..., SIDE)."""
    m = draw(st.integers(1, 5))
    return draw(st.lists(st.tuples(*[st.integers(0, SIDE + 1)] * m), min_size=min_size, max_size=9)), m


def array(rows: Rows, m: int) -> np.ndarray:
    return np.array(rows, dtype=float).reshape(len(rows), m)


def dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


def cells(rows: Rows, m: int) -> int:
    """Unit cells of the box below the reference point that some point dominates."""
    return sum(any(all(x <= c for x, c in zip(row, cell, strict=True)) for row in rows)
               for cell in itertools.product(range(SIDE), repeat=m))  # fmt: skip


@given(grids())
def test_non_dominated_is_what_no_point_dominates(grid: tuple[Rows, int]) -> None:
    rows, m = grid
    expected = [not any(dominates(other, row) for other in rows) for row in rows]
    assert non_dominated(array(rows, m)).tolist() == expected


def test_non_dominated_compares_across_blocks() -> None:
    rows = np.stack([np.arange(1000.0), 999 - np.arange(1000.0)], axis=1)
    rows[700] += 2
    assert np.flatnonzero(~non_dominated(rows)).tolist() == [700]


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_non_dominated_of_many_points_with_ties(m: int) -> None:
    rows = np.random.default_rng(m).integers(0, 6, size=(700, m)).astype(float)
    no_worse, better = (rows[:, None] <= rows).all(axis=2), (rows[:, None] < rows).any(axis=2)
    assert non_dominated(rows).tolist() == (~(no_worse & better).any(axis=0)).tolist()


@given(grids())
def test_hypervolume_counts_dominated_cells(grid: tuple[Rows, int]) -> None:
    rows, m = grid
    assert hypervolume(array(rows, m), [SIDE] * m) == cells(rows, m)


@given(grids(min_size=1), st.randoms(use_true_random=False))
def test_hypervolume_ignores_order_and_moves_with_the_reference_point(grid: tuple[Rows, int], random: object) -> None:
    rows, m = grid
    shuffled = random.sample(rows, len(rows))  # type: ignore[attr-defined]
    assert hypervolume(array(shuffled, m) - 7, [SIDE - 7] * m) == hypervolume(array(rows, m), [SIDE] * m)


def test_hypervolume_of_fractions() -> None:
    assert hypervolume([[0.25, 0.5], [0.5, 0.25]], [1.0, 1.0]) == 0.375 + 0.375 - 0.25
    assert hypervolume([[0.5] * 6], [1.0] * 6) == 0.5**6


def test_points_at_infinity_add_nothing() -> None:
    assert hypervolume([[1.0, np.inf], [1.0, 1.0]], [2.0, 2.0]) == 1.0


@given(grids(), st.integers(0, 10), st.data())
def test_thin_is_the_plain_greedy_choice(grid: tuple[Rows, int], k: int, data: st.DataObject) -> None:
    rows, m = grid
    first = data.draw(st.lists(st.sampled_from(range(len(rows))), unique=True, max_size=3)) if rows else []
    expected = first[:k]
    for _ in range(min(k, len(rows)) - len(expected)):
        left = [i for i in range(len(rows)) if i not in expected]
        # max keeps the first of equals: ties go to the lower index.
        expected.append(max(left, key=lambda i: cells([rows[j] for j in [*expected, i]], m)))
    assert hypervolume_subset(array(rows, m), [SIDE] * m, k, first=first) == expected


def test_thin_of_a_large_front_takes_the_largest_gain_each_time() -> None:
    directions = np.abs(np.random.default_rng(0).normal(size=(100, 4)))
    front, reference = directions / np.linalg.norm(directions, axis=1, keepdims=True), [1.1] * 4
    chosen = hypervolume_subset(front, reference, 8)
    assert len(set(chosen)) == 8
    for i, index in enumerate(chosen):
        volumes = [hypervolume(front[[*chosen[:i], j]], reference) for j in range(len(front))]
        assert volumes[index] == pytest.approx(max(volumes), rel=1e-12)


@pytest.mark.parametrize(
    ("points", "message"),
    [([[np.nan, 1.0]], "NaN"), ([1.0, 2.0], r"shape \(2,\)"), (np.empty((3, 0)), r"shape \(3, 0\)")],
)
def test_wrong_points_are_refused(points: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        non_dominated(points)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        hypervolume(points, [1.0, 1.0])  # type: ignore[arg-type]


@pytest.mark.parametrize("point", [[1.0], [1.0, 1.0, 1.0], [1.0, np.nan], [1.0, np.inf]])
def test_wrong_reference_points_are_refused(point: list[float]) -> None:
    with pytest.raises(ValueError, match="reference_point: expected 2 finite numbers"):
        hypervolume([[0.0, 0.0]], point)
    with pytest.raises(ValueError, match="reference_point: expected 2 finite numbers"):
        hypervolume_subset([[0.0, 0.0]], point, 1)


def test_infinite_volume_and_negative_count_are_refused() -> None:
    with pytest.raises(ValueError, match="-inf"):
        hypervolume([[-np.inf, 0.0]], [1.0, 1.0])
    with pytest.raises(ValueError, match="got -1"):
        hypervolume_subset([[0.0, 0.0]], [1.0, 1.0], -1)
