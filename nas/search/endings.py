"""Why a search is given up before its goal, in words; empty where there is no reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from nas.records import State
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
    name, count = Counter(name for row in broken for name in row.violation).most_common(1)[0]
    return (
        f"{len(broken)} of the last {WINDOW} candidates are infeasible; constraints.{name}.max {limits[name]:g} "
        f"is broken by {count} of them, the least has {min(row.value(name) for row in broken):g}"
    )


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
