"""The front of rows."""

from __future__ import annotations

from by_hand import make_study, row

from nas.front import front_of


def test_log_loss_orders_rows_of_equal_quality_and_nothing_else() -> None:
    rows = [
        row(0, 0.9, 10, 30, log_loss=0.5), row(1, 0.9, 20, 20, log_loss=0.2), row(2, 0.9, 30, 10, log_loss=None),
        row(3, 0.9, 40, 40, log_loss=0.1), row(4, 0.8, 1, 1, log_loss=0.0),
    ]  # fmt: skip
    assert [r["number"] for r in front_of(rows, make_study().objectives)] == [1, 0, 2, 4]
    costs = make_study().model_copy(update={"objectives": ("parameters", "size_bytes")})
    assert [r["number"] for r in front_of(rows[:3], costs.objectives)] == [0, 1, 2]
