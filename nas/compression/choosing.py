"""Which member of a search's front is taken where one is wanted. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas.records import QUALITIES

Row = Mapping[str, Any]


def chosen(members: Sequence[Row], objectives: Sequence[str], limits: Mapping[str, float]) -> Row:
    """The most accurate where there are limits, which all members keep; else the least costly within one standard error
    of it: of two that cannot be told apart by accuracy it is the smaller one.
    """
    best = max(members, key=lambda row: _accuracy(row))
    costs = [name for name in objectives if name not in QUALITIES]
    if limits or not costs:
        return best
    least = _accuracy(best) - float(best.get("accuracy_se") or 0.0)
    return min((row for row in members if _accuracy(row) >= least), key=lambda row: float(row[costs[0]]))


def _accuracy(row: Row) -> float:
    """What it is selected by: validation's."""
    found = row.get("accuracy")
    return -1.0 if found is None else float(found)
