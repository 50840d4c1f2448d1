"""The heartbeat of a run: a small file that the process at work writes again every BEAT_SECONDS.

Whether somebody works in a folder is read off it on any machine that sees the folder. No clock is trusted that may be
set: on the driver's own machine its process is looked for, or its uptime compared; from elsewhere the file is watched
where its time is not plausible.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from nas.process import Process, uptime
from nas.run_folder.paths import RunFolder

BEAT_SECONDS = 2.0
QUIET_SECONDS = 10.0  # without a beat, by the uptime of the same machine: five were missed
# By two machines' clocks; a network file system may show a file as it was half a minute ago.
PLAUSIBLE_SECONDS = 60.0
WATCH_SECONDS = 3 * BEAT_SECONDS


class Ending(StrEnum):
    """How the work of a process in a folder ended."""

    OVER = "over"
    STOPPED = "stopped"
    FAILED = "failed"


class Life(StrEnum):
    """What is known of the work in a folder; LOST: it has not ended, and nobody is at it."""

    RUNNING = "running"
    OVER = "over"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class RunningTask:
    """An evaluation at work: what users know it by, what it is at in words, and for how long."""

    phase: str
    number: int
    id: str
    words: str
    seconds: float


@dataclass(frozen=True)
class Heartbeat:
    """One beat.

    `time` is what the machine's clock said (ISO 8601, UTC), `uptime` its seconds since it started, `seconds` how long
    this process has been at work. `left_seconds` are expected until all is done. `problem` says why it FAILED.
    """

    process: Process
    count: int
    time: str
    uptime: float
    seconds: float
    began: str
    version: str = ""
    engine: str = ""
    workers: int = 0
    running: tuple[RunningTask, ...] = ()
    left_seconds: float | None = None
    ending: Ending | None = None
    problem: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Heartbeat:
        """Raises ValueError where the text is no heartbeat; what a later version adds is left out."""
        try:
            read = json.loads(text)
            known = _known(cls, read)
            ending = known.get("ending")
            return cls(
                **{
                    **known,
                    "process": Process(**_known(Process, read["process"])),
                    "running": tuple(RunningTask(**_known(RunningTask, task)) for task in read.get("running", ())),
                    "ending": None if ending is None else Ending(ending),
                }
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"expected a heartbeat ({error})") from None


def _known(record: type[Any], read: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: read[field.name] for field in fields(record) if field.name in read}


def now() -> str:
    """The clock, to the second, as everything in a run folder writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_heartbeat(folder: RunFolder, beat: Heartbeat) -> None:
    """Replace the file. It is not synced: after a crash of the machine an older beat says the same."""
    temporary = folder.heartbeat.with_name(f".{folder.heartbeat.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(beat.to_json(), encoding="utf-8")
        temporary.replace(folder.heartbeat)
    except BaseException:  # a full disk: what is left would stay for ever
        temporary.unlink(missing_ok=True)
        raise


def read_heartbeat(folder: RunFolder) -> Heartbeat | None:
    """The last beat; None where there is none, or none that this version reads."""
    try:
        return Heartbeat.from_json(folder.heartbeat.read_bytes())
    except (OSError, ValueError):
        return None


@dataclass(frozen=True)
class Sign:
    """The last sign of life: what it says, and how many seconds ago it was, where that is known."""

    life: Life
    beat: Heartbeat | None
    seconds_ago: float | None = None


def sign_of(beat: Heartbeat | None, *, earlier: Heartbeat | None = None) -> Sign | None:
    """What a beat says at once; None where only a later look can tell, by another beat.

    `earlier` is a beat that was seen at least WATCH_SECONDS before.
    """
    if beat is None:
        return Sign(Life.UNKNOWN, None)
    if beat.ending is not None:
        return Sign(Life(beat.ending), beat)
    ago = uptime() - beat.uptime if beat.process.is_comparable else None
    alive = beat.process.is_alive
    if alive is not None:
        return Sign(Life.RUNNING if alive else Life.LOST, beat, ago)
    if ago is not None:
        return Sign(Life.RUNNING if ago < QUIET_SECONDS else Life.LOST, beat, ago)
    if earlier is not None:
        is_same = (earlier.process, earlier.count) == (beat.process, beat.count)
        return Sign(Life.LOST if is_same else Life.RUNNING, beat, None if is_same else 0.0)
    by_clocks = (datetime.now(UTC) - datetime.fromisoformat(beat.time)).total_seconds()
    return Sign(Life.RUNNING, beat, max(0.0, by_clocks)) if abs(by_clocks) < PLAUSIBLE_SECONDS else None


def look(folder: RunFolder, *, sleep: Callable[[float], object] = time.sleep) -> Sign:
    """The sign of life of a run; where clocks cannot tell, the file is watched for WATCH_SECONDS."""
    beat = read_heartbeat(folder)
    if (sign := sign_of(beat)) is not None:
        return sign
    sleep(WATCH_SECONDS)
    return sign_of(read_heartbeat(folder) or beat, earlier=beat) or Sign(Life.UNKNOWN, beat)


def next_beat(beat: Heartbeat, **changes: Any) -> Heartbeat:
    """A later beat of the same process."""
    return replace(beat, count=beat.count + 1, time=now(), uptime=uptime(), **changes)
