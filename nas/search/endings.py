"""Why a search is given up before its goal, in words; empty where there is no reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from nas.objectives import unrun_words
from nas.records import QUALITIES, State
from nas.run_folder.rows import TrialRow

WINDOW, INFEASIBLE_SHARE = 100, 0.95  # trials looked at, and how many of them
FAILURES_IN_A_ROW = 10


def failing(newest: Sequence[TrialRow]) -> str:
    """Why all recent trials failed, if they did."""
    recent = newest[:FAILURES_IN_A_ROW]
    if len(recent) < FAILURES_IN_A_ROW or any(row.state is not State.FAILED for row in recent):
        return ""
    return f"the last {FAILURES_IN_A_ROW} candidates all failed, the newest with: {recent[0].reason}"


def infeasible(newest: Sequence[TrialRow], limits: Mapping[str, float]) -> str:
    """Which constraint nearly all recent trials break, if there is one."""
    recent = newest[:WINDOW]
    broken = [row for row in recent if row.state is State.INFEASIBLE]
    if len(recent) < WINDOW or len(broken) < INFEASIBLE_SHARE * WINDOW:
        return ""
    return f"{len(broken)} of the last {WINDOW} candidates are infeasible; {_most_broken(broken, limits)}"


def trained_in_vain(rows: Sequence[TrialRow], limits: Mapping[str, float], most: int) -> str:
    """That `most` candidates missed a quality, which shows only when they are trained, if so."""
    missed = [row for row in rows if row.state is State.INFEASIBLE and not row.violation.keys().isdisjoint(QUALITIES)]
    if len(missed) < most:
        return ""
    return f"{len(missed)} candidates were trained and are infeasible; {_most_broken(missed, limits)}"


def _most_broken(rows: Sequence[TrialRow], limits: Mapping[str, float]) -> str:
    """The constraint that most of the rows break, and how near they come to it."""
    name, count = Counter(name for row in rows for name in row.violation).most_common(1)[0]
    found = [row.measured(name) for row in rows if name in row.violation]
    values = [value for value in found if value is not None]
    if not values:
        return f"{unrun_words(name)}: so it is with {count} of them"
    bound, nearest = (
        ("min", f"best has {max(values):g}") if name in QUALITIES else ("max", f"least has {min(values):g}")
    )
    return f"constraints.{name}.{bound} {limits[name]:g} is broken by {count} of them, the {nearest}"


def spent(epoch_budget: float | None) -> str:
    """That the next piece of a training takes more epochs than are left."""
    return f"no further piece of a training fits into search.epoch_budget {epoch_budget:g}"


def gaining_little(gain_per_hour: float | None, least: float) -> str:
    """That another hour is expected to gain less than asked for, if so."""
    if gain_per_hour is None or gain_per_hour >= least:
        return ""
    return (
        f"another hour is expected to enlarge the hypervolume by {gain_per_hour:.2%}, "
        f"less than search.stop_when_gain_below {least:g}"
    )
