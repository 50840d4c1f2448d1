"""Which member of a front is taken."""

from __future__ import annotations

from nas.compression.choosing import chosen

ROWS = [
    {"trial": 1, "accuracy": 0.98, "accuracy_se": 0.01, "size_bytes": 300},
    {"trial": 2, "accuracy": 0.975, "accuracy_se": 0.01, "size_bytes": 100},
    {"trial": 3, "accuracy": 0.96, "accuracy_se": 0.01, "size_bytes": 50},
    {"trial": 4, "accuracy": None, "accuracy_se": None, "size_bytes": 10},
]


def test_with_limits_the_most_accurate() -> None:
    assert chosen(ROWS, ["accuracy", "size_bytes"], {"size_bytes": 400.0})["trial"] == 1


def test_without_limits_the_smallest_that_cannot_be_told_from_it() -> None:
    """Trial 2 is half a standard error behind, trial 3 two."""
    assert chosen(ROWS, ["accuracy", "size_bytes"], {})["trial"] == 2
    assert chosen(ROWS, ["accuracy"], {})["trial"] == 1
