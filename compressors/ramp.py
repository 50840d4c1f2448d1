"""How fast zeros grow where pruning takes its time (Zhu and Gupta 2017, arXiv:1710.01878)."""

from __future__ import annotations


def cubic(done: float) -> float:
    """The share of what is to go that is gone when `done` of the time is over: 1 - (1 - t)^3, and all of it behind.

    Fast at first, when much is superfluous.
    """
    return 1 - max(0.0, 1 - done) ** 3
