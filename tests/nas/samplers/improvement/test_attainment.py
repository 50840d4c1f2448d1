"""Boxes of what a front attains, against the definition on integer grids."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.samplers.improvement.attainment import Attainment

SIDE = 4
Rows = list[tuple[int, ...]]


@st.composite
def fronts(draw: st.DrawFn) -> tuple[Rows, int]:
    """Integer points in 1 to 4 objectives, dominated and repeated ones too; some are beyond the reference point."""
    m = draw(st.integers(1, 4))
    return draw(st.lists(st.tuples(*[st.integers(0, SIDE + 1)] * m), max_size=9)), m


def attained(rows: Rows, m: int) -> Attainment:
    """Scaled so that the reference point, (SIDE, ..., SIDE), is 1."""
    return Attainment.of(np.array(rows, dtype=float).reshape(len(rows), m) / SIDE)


def least(rows: Rows, cell: tuple[int, ...]) -> float:
    """The definition: least first objective of the points whose others are at most those of the cell."""
    inside = [row for row in rows if all(value < SIDE for value in row)]
    reached = [row[0] for row in inside if all(x <= c for x, c in zip(row[1:], cell, strict=True))]
    return min([*reached, SIDE]) / SIDE


@given(fronts())
def test_every_cell_lies_in_one_box_which_has_its_level(front: tuple[Rows, int]) -> None:
    rows, m = front
    found = attained(rows, m)
    levels = found.values[0][found.level]
    corners = [(found.values[i + 1][found.lower[:, i]], found.values[i + 1][found.upper[:, i]]) for i in range(m - 1)]
    for cell in itertools.product(range(-1, SIDE), repeat=m - 1):
        middles = [(c + 0.5) / SIDE for c in cell]
        inside = np.ones(len(levels), dtype=bool)
        for (low, high), middle in zip(corners, middles, strict=True):
            inside &= (low < middle) & (middle < high)
        assert inside.sum() == 1
        assert levels[inside] == least(rows, cell)


@given(fronts(), st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_count(front: tuple[Rows, int], random: object) -> None:
    rows, m = front
    shuffled = random.sample(rows, len(rows))  # type: ignore[attr-defined]
    first, second = attained(rows, m), attained(shuffled, m)
    for left, right in zip((first.level, first.lower, first.upper), (second.level, second.lower, second.upper)):  # noqa: B905
        assert left.tolist() == right.tolist()


@pytest.mark.parametrize(("m", "boxes"), [(1, 2), (2, 31), (3, 61)])
def test_there_are_as_few_boxes_as_there_can_be(m: int, boxes: int) -> None:
    """One, n + 1 or 2 n + 1 for n points in general position, and one more level for one objective."""
    direction = np.abs(np.random.default_rng(0).normal(size=(30, m)))
    front = 1 - 0.9 * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    assert len(Attainment.of(front).level) == (1 if m == 1 else boxes)


def test_a_front_of_nothing_is_one_box() -> None:
    found = Attainment.of(np.empty((0, 3)))
    assert [values.tolist() for values in found.values] == [[1.0], [-np.inf, 1.0], [-np.inf, 1.0]]
    assert (found.level.tolist(), found.lower.tolist(), found.upper.tolist()) == ([0], [[0, 0]], [[1, 1]])


@pytest.mark.parametrize("front", [[0.5, 0.5], [[]], [[0.5, np.nan]]])
def test_what_is_no_front_is_refused(front: list[object]) -> None:
    with pytest.raises(ValueError, match="front: expected numbers of shape"):
        Attainment.of(np.array(front, dtype=float))
