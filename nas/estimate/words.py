"""Seconds in words."""

from __future__ import annotations

from nas.estimate.whole import Seconds

MINUTES_FROM, HOURS_FROM = 90.0, 5400.0


def duration(seconds: float) -> str:
    """45 s, 7.5 min, 3.2 h: two figures that a person can plan with."""
    if seconds < MINUTES_FROM:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < HOURS_FROM else f"{seconds / 3600:.1f} h"


def span(seconds: Seconds) -> str:
    """A range; one figure where its ends read alike."""
    low, high = duration(seconds.low), duration(seconds.high)
    return low if low == high else f"{low} to {high}"
