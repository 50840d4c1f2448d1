"""Rows on a front: only those that may stand, in the order the front has."""

from __future__ import annotations

import pytest
from by_hand import make_study, row

from nas.records import State
from nas.search.standing import front_of, points_of, standing


def test_log_loss_orders_rows_of_equal_quality_and_nothing_else() -> None:
    rows = [
        row(0, 0.9, 10, 30, log_loss=0.5), row(1, 0.9, 20, 20, log_loss=0.2), row(2, 0.9, 30, 10, log_loss=None),
        row(3, 0.9, 40, 40, log_loss=0.1), row(4, 0.8, 1, 1, log_loss=0.0),
    ]  # fmt: skip
    assert [r.number for r in front_of(rows, make_study().objectives)] == [1, 0, 2, 4]
    assert [r.number for r in front_of(rows[:3], ("parameters", "size_bytes"))] == [0, 1, 2]


def test_only_complete_rows_that_keep_parity_stand() -> None:
    rows = [row(number, 0.5, 1, 1, state=state) for number, state in enumerate(State)]
    assert [r.state for r in standing(rows)] == [State.COMPLETE]
    flagged = [row(0, 0.5, 1, 1, flags=("unstable",)), row(1, 0.9, 1, 1, flags=("unstable", "parity"))]
    assert [r.number for r in front_of(flagged, ("accuracy",))] == [0]


def test_points_are_errors_and_decades() -> None:
    points = points_of([row(0, 0.75, 100, 10), row(1, 0.5, 1000, 1)], ("accuracy", "parameters"))
    assert points.tolist() == [[0.25, pytest.approx(2)], [0.5, pytest.approx(3)]]


def test_a_row_without_the_objective_is_named() -> None:
    with pytest.raises(ValueError, match=r"trial 3: expected a value of macro_f1, got none \(COMPLETE\)"):
        front_of([row(3, 0.5, 1, 1)], ("macro_f1",))
