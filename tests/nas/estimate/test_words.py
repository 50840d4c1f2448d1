"""Seconds in words."""

from __future__ import annotations

import pytest

from nas.estimate import Seconds
from nas.estimate.words import duration, span


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (89.4, "89 s"), (90, "1.5 min"), (5399, "90.0 min"), (5400, "1.5 h"), (36000, "10.0 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_range_of_which_both_ends_read_alike_is_one_figure() -> None:
    assert span(Seconds(30.0, 200.0)) == "30 s to 3.3 min"
    assert span(Seconds(30.1, 30.2)) == "30 s"
