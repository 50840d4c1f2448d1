"""Rows that may stand on a front: which they are, their values, and the front among them."""

from __future__ import annotations

from collections.abc import Sequence

from nas.front import front
from nas.objectives import Points, may_stand, minimised
from nas.run_folder.rows import TrialRow


def standing(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """The rows that may stand on a front."""
    return [row for row in rows if may_stand(row.state, row.flags)]


def values_of(rows: Sequence[TrialRow], objectives: Sequence[str]) -> list[list[float]]:
    """Objective values (n, m) of rows, in the files' units."""
    return [[row.value(name) for name in objectives] for row in rows]


def points_of(rows: Sequence[TrialRow], objectives: Sequence[str]) -> Points:
    """Objective values (n, m) of rows on the scale they are compared on, all minimised."""
    return minimised(values_of(rows, objectives), objectives)


def front_of(rows: Sequence[TrialRow], objectives: Sequence[str]) -> list[TrialRow]:
    """Rows not dominated by another, the best in the first objective first."""
    able = standing(rows)
    return [able[i] for i in front(values_of(able, objectives), objectives, [row.log_loss for row in able])]
