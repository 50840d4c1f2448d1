"""run.log: what happened in a run folder, one JSON object a line, written by the process that works there.

The file is bounded: at MOST_BYTES it becomes run.log.1, in place of an earlier one, and a new one begins.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from nas.run_folder.heartbeat import now
from nas.run_folder.paths import RunFolder

MOST_BYTES = 16 * 2**20
MOST_WORDS = 2000  # characters of one line's sentence
_OWN = ("time", "seconds", "level", "event", "words")


class Level(IntEnum):
    """How much a line of the log matters."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40

    @classmethod
    def named(cls, name: str) -> Level:
        """Raises KeyError for an unknown name."""
        return cls[name.upper()]


@dataclass(frozen=True)
class LogLine:
    """One event: its kind, a sentence, and what else belongs to it by name.

    `time` is the clock's (ISO 8601, UTC); `seconds` count since the process began to work and follow no clock that is
    set.
    """

    time: str
    seconds: float
    level: Level
    event: str
    words: str
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        own = (self.time, round(self.seconds, 3), self.level.name.lower(), self.event, self.words)
        return json.dumps({**dict(zip(_OWN, own, strict=True)), **self.more}, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> LogLine | None:
        """The line that `to_json` wrote; None where it is torn, or none of ours."""
        try:
            read = json.loads(line)
            level = Level.named(read["level"])
            more = {name: value for name, value in read.items() if name not in _OWN}
            return cls(read["time"], float(read["seconds"]), level, read["event"], read["words"], more)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            return None

    def __str__(self) -> str:
        clock = self.time.replace("T", " ").removesuffix("+00:00")
        return f"{clock}  {self.level.name.lower():<7}  {self.words}"


class LogFile:
    """The log of one folder, open for one process; every line is there for readers at once."""

    def __init__(self, folder: RunFolder, *, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._most_bytes = folder, most_bytes
        self._began = time.monotonic()
        self._out = self._opened()

    @property
    def seconds(self) -> float:
        """Since it was opened."""
        return time.monotonic() - self._began

    def write(self, level: Level, event: str, words: str, **more: Any) -> None:
        """Add a line; raises OSError where the disk takes none."""
        short = words if len(words) <= MOST_WORDS else f"{words[:MOST_WORDS]} ..."
        line = LogLine(now(), self.seconds, level, event, " ".join(short.split()), more)
        self._append(f"{line.to_json()}\n".encode(errors="replace"))
        if os.fstat(self._out).st_size >= self._most_bytes:
            self._begin_anew()

    def close(self) -> None:
        os.close(self._out)

    def _begin_anew(self) -> None:
        """Where a new file cannot be opened, the old one stays open: its descriptor must not become another file's."""
        with suppress(FileNotFoundError):  # moved by a try that could not open the new one
            self._folder.log.replace(self._folder.older_log)
        older, self._out = self._out, self._opened()
        os.close(older)

    def _opened(self) -> int:
        descriptor = os.open(self._folder.log, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a process died in the middle of a line
            os.write(descriptor, b"\n")
        return descriptor

    def _append(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._out, data) :]


def read_log(folder: RunFolder, *, last_bytes: int | None = None) -> list[LogLine]:
    """What the log holds, oldest first, or the last whole lines of so many bytes; without what is torn."""
    text = b"".join(_content(file, last_bytes) for file in _files(folder, last_bytes))
    return list(lines_in(text.decode(errors="replace").split("\n")))


def lines_in(texts: Iterable[str]) -> Iterator[LogLine]:
    """The lines that are whole."""
    return (line for text in texts if text and (line := LogLine.from_json(text)) is not None)


def _files(folder: RunFolder, last_bytes: int | None) -> list[Path]:
    """The older log is read too, unless the new one alone has enough."""
    files = [file for file in (folder.older_log, folder.log) if file.exists()]
    return files[-1:] if last_bytes and files and files[-1].stat().st_size >= last_bytes else files


def _content(file: Path, last_bytes: int | None) -> bytes:
    try:
        with file.open("rb") as read:
            if last_bytes is None or (size := file.stat().st_size) <= last_bytes:
                return read.read()
            read.seek(size - last_bytes)
            return read.read().partition(b"\n")[2]
    except FileNotFoundError:  # it has just become the older one
        return b""
