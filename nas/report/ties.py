"""In what order a front is listed, and what decided among members that are equal in what it is listed by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas.records import QUALITIES
from nas.report.figures import figure, present

Row = Mapping[str, Any]
LOG_LOSS = "log loss on the validation images"


def order_words(objectives: Sequence[str]) -> str:
    """How the list is ordered, as `nas.front.front` does it."""
    first, *others = objectives
    then = [*([LOG_LOSS] if first in QUALITIES else []), *(figure(name).label for name in others)]
    ties = f" Equal ones are listed by {', then '.join(then)}." if then else ""
    return (
        f"Listed by {figure(first).label}, the best first.{ties} The test split decides nothing: among members that "
        "are equal or close, another may be the better choice."
    )


def tie_words(rows: Sequence[Row], objectives: Sequence[str]) -> str:
    """Which other trials equal the first row in the first objective, and why it comes first; empty where none does."""
    if not rows:
        return ""
    first, name = rows[0], objectives[0]
    tied = [row for row in rows if row.get(name) == first.get(name) and row["trial"] != first["trial"]]
    if not tied:
        return ""
    *others, last = dict.fromkeys(str(row["trial"]) for row in tied)
    equal = f"trials {', '.join(others)} and {last} are" if others else f"trial {last} is"
    return (
        f"Trial {first['trial']} is listed first {_why(first, tied[0], objectives)}; in {figure(name).label} {equal} "
        "its equal."
    )


def _why(first: Row, second: Row, objectives: Sequence[str]) -> str:
    """What tells a row from a later one, which is as good in the first objective."""
    is_quality = objectives[0] in QUALITIES
    if is_quality and present(first.get("log_loss")) and first["log_loss"] != second.get("log_loss"):
        return f"for its lower {LOG_LOSS}"
    for name in objectives[1:]:
        if first.get(name) != second.get(name):
            better = "higher" if name in QUALITIES else "lower"
            return f"for its {better} {figure(name).label}"
    return "as the earlier one"
