"""How a run stands: in words for a terminal or a pipe, and as JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from nas.estimate.words import duration
from nas.records import State
from nas.report.figures import figure, significant
from nas.report.status import Status
from nas.run_folder.heartbeat import Heartbeat, Life, RunningTask, Sign

LABEL_WIDTH = 10
SHOWN_RUNNING = 16


def lines_of(status: Status) -> list[str]:
    """One subject a line, its name in front."""
    told = [(label, text) for label, text in _subjects(status) if text]
    return [f"{label:<{LABEL_WIDTH}}  {text}" for label, text in told]


def _subjects(status: Status) -> Iterator[tuple[str, str]]:
    yield "run", f"{status.name}, in {status.folder}"
    yield "driver", life_words(status.sign)
    yield "search", _search(status)
    for name, further in status.further.items():
        others = f", {further.others} ended otherwise" if further.others else ""
        yield name, f"{further.complete} of {further.wanted} complete{others}"
    yield "rate", _rate(status)
    yield "forecast", forecast_words(status)
    yield "front", _front(status)
    for name, best in status.best.items():
        yield "best", f"{figure(name).label} {figure(name).text(best.value, unit=True)} (trial {best.trial}, {best.id})"
    yield from (("running", words) for words in _running(status.sign))
    if status.deaths:
        yield "deaths", f"{status.deaths} of workers since the driver began; the last: {status.last_death}"
    for failure in status.failures:
        yield "failed", f"{failure.whose}: {failure.reason}"


def life_words(sign: Sign) -> str:
    """Whether somebody works in the folder, who, and since when."""
    beat = sign.beat
    if beat is None:
        return "none has left a sign of life here (an earlier version leaves none)"
    who = f"on {beat.process.host} (process {beat.process.pid})"
    match sign.life:
        case Life.RUNNING:
            ago = "" if sign.seconds_ago is None else f"; last sign {duration(max(0.0, sign.seconds_ago))} ago"
            return f"running {who} since {clock(beat.began)}, {duration(beat.seconds)}{_engine(beat)}{ago}"
        case Life.OVER:
            return f"finished at {clock(beat.time)} {who}, after {duration(beat.seconds)}"
        case Life.STOPPED:
            return f"stopped at {clock(beat.time)} {who}; the same command goes on"
        case Life.FAILED:
            return f"failed at {clock(beat.time)} {who}: {beat.problem}"
        case Life.UNKNOWN:
            return f"not known yet whether it still works {who}; its last sign is of {clock(beat.time)}"
        case _:
            return f"lost {who}: no sign of life since {clock(beat.time)}; the same command goes on"


def _engine(beat: Heartbeat) -> str:
    workers = f", {beat.workers} worker{'s' if beat.workers != 1 else ''}" if beat.workers else ""
    return f"; engine {beat.engine}{workers}" if beat.engine else ""


def clock(time: str) -> str:
    """A recorded time for a reader; what is none stands as it is."""
    try:
        return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return time


def _search(status: Status) -> str:
    counts = [f"{number} {state.lower()}" for state in State if state is not State.COMPLETE
              and (number := status.states.get(state, 0))]  # fmt: skip
    return ", ".join([f"{status.complete} of {status.wanted} trials complete", *counts])


def _rate(status: Status) -> str:
    if status.rate is None:
        return ""
    return f"{significant(status.rate.trials)} trials an hour, {significant(status.rate.complete)} of them complete"


def forecast_words(status: Status, *, now: datetime | None = None) -> str:
    """When it ends; without a driver how much work is left."""
    if status.left_seconds is None:
        return ""
    about, what = duration(status.left_seconds), "the search" if status.is_by_rate else "all"
    if status.sign.life is not Life.RUNNING:
        return f"about {about} of work left until {what} is done"
    end = (now or datetime.now(UTC)) + timedelta(seconds=status.left_seconds)
    return f"{what} done in about {about}, at {end:%Y-%m-%d %H:%M} UTC"


def _front(status: Status) -> str:
    if not status.front:
        return "empty"
    volume = "" if status.hypervolume is None else f"; hypervolume of the search {significant(status.hypervolume, 4)}"
    return f"{status.front} network{'s' if status.front > 1 else ''} of the {status.of}{volume}"


def _running(sign: Sign) -> list[str]:
    tasks = _tasks(sign)
    shown = [
        f"{'trial' if task.phase == 'search' else task.phase} {task.number}, {task.id}: {task.words}, "
        f"for {duration(task.seconds)}"
        for task in tasks[:SHOWN_RUNNING]
    ]
    return [*shown, *([f"and {len(tasks) - SHOWN_RUNNING} more"] if len(tasks) > SHOWN_RUNNING else [])]


def as_json(status: Status) -> str:
    """All of it, in the files' units; null where nothing is known."""
    beat = status.sign.beat
    told = {
        "name": status.name,
        "folder": str(status.folder),
        "life": status.sign.life,
        "driver": None if beat is None else _driver(beat, status.sign),
        "trials_wanted": status.wanted,
        "states": {state.lower(): status.states.get(state, 0) for state in State},
        "further": {name: asdict(further) for name, further in status.further.items()},
        "trials_per_hour": None if status.rate is None else status.rate.trials,
        "complete_per_hour": None if status.rate is None else status.rate.complete,
        "left_seconds": status.left_seconds,
        "left_of": None if status.left_seconds is None else "search" if status.is_by_rate else "all",
        "front": {"size": status.front, "of": status.of},
        "hypervolume": status.hypervolume,
        "best": {name: asdict(best) for name, best in status.best.items()},
        "running": [asdict(task) for task in _tasks(status.sign)],
        "worker_deaths": status.deaths,
        "last_failures": [asdict(failure) for failure in status.failures],
    }
    return json.dumps(told, indent=2, allow_nan=False) + "\n"


def _tasks(sign: Sign) -> Sequence[RunningTask]:
    return () if sign.beat is None or sign.life is not Life.RUNNING else sign.beat.running


def _driver(beat: Heartbeat, sign: Sign) -> dict[str, object]:
    return {
        "host": beat.process.host,
        "pid": beat.process.pid,
        "began": beat.began,
        "seconds": beat.seconds,
        "last_sign": beat.time,
        "seconds_ago": sign.seconds_ago,
        "engine": beat.engine,
        "workers": beat.workers,
        "version": beat.version,
        "problem": beat.problem or None,
    }
