"""The table of efforts."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

from nas.study.effort import EFFORTS, EffortName


def test_every_name_has_a_row() -> None:
    assert tuple(EFFORTS) == get_args(EffortName)


def test_a_larger_effort_spends_more() -> None:
    for less, more in pairwise(EFFORTS.values()):
        assert less.minutes < more.minutes
        assert less.most_pixels < more.most_pixels
        for name in ("trials", "trial_steps", "finalists", "final_steps"):
            low, high = getattr(less, name), getattr(more, name)
            assert low[0] < low[1]
            assert low[0] < high[0]
            assert low[1] < high[1]
