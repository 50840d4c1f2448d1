"""How fast a run goes on, read off its log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.records import State
from nas.run_folder.log import LogLine

RATE_SECONDS = 3600.0  # of the last hour at work


@dataclass(frozen=True)
class Rate:
    """Search trials an hour: all that ended, and those of them that are complete."""

    trials: float
    complete: float


def last_session(log: Sequence[LogLine]) -> list[LogLine]:
    """What the last process to work here has logged."""
    begins = [number for number, line in enumerate(log) if line.event == "began"]
    return list(log[begins[-1] :]) if begins else list(log)


def rate_of(session: Sequence[LogLine], at: float | None) -> Rate | None:
    """Trials an hour, over the last hour of the search; `at` is now, in seconds of the session, while it works.

    Nothing before the first trial ended. The session's seconds follow no clock that is set.
    """
    own = [line for line in session if line.more.get("phase") == "search"]
    over = [line for line in own if line.event == "over"]
    if not over:
        return None
    others = any(line.more.get("phase") not in (None, "search") for line in session[session.index(over[-1]) :])
    end = over[-1].seconds if at is None or others else max(at, over[-1].seconds)
    begin = max(own[0].seconds, end - RATE_SECONDS)
    counted = [line for line in over if line.seconds > begin]
    hours = (end - begin) / 3600
    if not counted or hours <= 0:
        return None
    complete = sum(line.more.get("state") == State.COMPLETE for line in counted)
    return Rate(len(counted) / hours, complete / hours)
