"""In what order a front is listed, as the words say it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nas.front import front
from nas.report.ties import order_words, tie_words

OBJECTIVES = ("accuracy", "latency_ms", "size_bytes")


def row(trial: int, accuracy: float, log_loss: float | None, latency: float, size: int = 10) -> dict[str, Any]:
    return {"trial": trial, "accuracy": accuracy, "log_loss": log_loss, "latency_ms": latency, "size_bytes": size}


def test_the_order_is_said_with_what_breaks_ties() -> None:
    words = order_words(OBJECTIVES)
    assert words.startswith(
        "Listed by validation accuracy, the best first. Equal ones are listed by log loss on the validation images, "
        "then latency, then file size. The test split decides nothing"
    )
    assert order_words(("latency_ms", "accuracy")).startswith(
        "Listed by latency, the best first. Equal ones are listed by validation accuracy."
    )
    assert "Equal" not in order_words(("latency_ms",)).partition("The test")[0]


def test_nobody_is_equal_to_the_first() -> None:
    assert tie_words([row(1, 0.9, 0.1, 1.0), row(2, 0.8, 0.1, 0.5)], OBJECTIVES) == ""
    assert tie_words([row(1, 0.9, 0.1, 1.0)], OBJECTIVES) == tie_words([], OBJECTIVES) == ""


def test_what_decided_is_named_with_who_is_equal() -> None:
    first, last = row(4, 0.9, 0.2, 2.0), row(5, 0.8, 0.1, 0.1)
    assert tie_words([first, row(1, 0.9, 0.3, 1.0), last], OBJECTIVES) == (
        "Trial 4 is listed first for its lower log loss on the validation images; in validation accuracy trial 1 is "
        "its equal."
    )
    assert tie_words([first, row(1, 0.9, 0.2, 3.0, 5), row(2, 0.9, 0.5, 1.0), row(3, 0.9, 0.6, 1.0)], OBJECTIVES) == (
        "Trial 4 is listed first for its lower latency; in validation accuracy trials 1, 2 and 3 are its equal."
    )
    assert "as the earlier one;" in tie_words([first, {**first, "trial": 6}], OBJECTIVES)
    again = row(4, 0.9, 0.25, 1.0)  # by another recipe
    assert tie_words([first, again, row(1, 0.9, 0.3, 0.5), row(1, 0.9, 0.4, 0.4), last], OBJECTIVES) == (
        "Trial 4 is listed first for its lower log loss on the validation images; in validation accuracy trial 1 is "
        "its equal."
    )
    assert tie_words([first, again, last], OBJECTIVES) == ""
    costs = ("latency_ms", "accuracy")
    assert "for its higher validation accuracy; in latency" in tie_words([first, row(1, 0.8, 0.1, 2.0)], costs)


@given(st.lists(st.tuples(*[st.integers(1, 3)] * 3), min_size=2, max_size=6))
def test_the_words_are_those_of_the_list(values: list[tuple[int, ...]]) -> None:
    """What is named as deciding is no worse in the first row than in the next one."""
    rows = [row(i, a / 4, loss / 4, latency) for i, (a, loss, latency) in enumerate(values)]
    names = ("accuracy", "latency_ms")
    points = np.array([[one[name] for name in names] for one in rows])
    listed = [rows[i] for i in front(points, names, [one["log_loss"] for one in rows])]
    words = tie_words(listed, names)
    assert bool(words) == (len(listed) > 1 and listed[1]["accuracy"] == listed[0]["accuracy"])
    if "log loss" in words:
        assert listed[0]["log_loss"] < listed[1]["log_loss"]
    elif "latency" in words:
        assert listed[0]["latency_ms"] < listed[1]["latency_ms"]
