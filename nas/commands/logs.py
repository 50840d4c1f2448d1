"""`nas logs`: what happened in a run folder, from its log; the lines that follow too, if asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nas.errors import InputError
from nas.run_folder.log import Level, LogLine, lines_in, read_log
from nas.run_folder.paths import RunFolder

FOLLOW_SECONDS = 0.5


@dataclass
class Wanted:
    """Which lines are shown: of `level` and above and, where `trial` is given, of one network.

    `trial` is a search trial's number or the beginning of an id; what else is told of the same network, a finalist
    say, belongs to it.
    """

    level: Level = Level.INFO
    trial: str | None = None
    _ids: set[str] = field(default_factory=set)

    def __call__(self, line: LogLine) -> bool:
        return self._is_of_trial(line) and line.level >= self.level

    def _is_of_trial(self, line: LogLine) -> bool:
        if self.trial is None:
            return True
        own = str(line.more.get("id", ""))
        is_named = line.more.get("phase") == "search" and str(line.more.get("number")) == self.trial
        if own and (is_named or (len(self.trial) >= 4 and own.startswith(self.trial))):
            self._ids.add(own)
        return own in self._ids


def logs(path: Path, wanted: Wanted, *, follow: bool, sleep: Callable[[float], object] = time.sleep) -> Iterator[str]:
    """The lines of the run in the folder `path`; if asked for, without an end those that are written meanwhile.

    Raises InputError where there is no log.
    """
    folder = RunFolder(path)
    if not folder.log.exists() and not folder.older_log.exists():
        if not folder.study.exists():
            raise InputError(f"{path}: expected a run folder, with run.log in it")
        raise InputError(f"{path}: holds no run.log yet; earlier versions wrote none")
    if follow:
        return _shown(_following(folder, sleep), wanted)
    return _shown(read_log(folder), wanted)


def _shown(lines: Iterable[LogLine], wanted: Wanted) -> Iterator[str]:
    return (str(line) for line in lines if wanted(line))


def _following(folder: RunFolder, sleep: Callable[[float], object]) -> Iterator[LogLine]:
    """All lines, then the new ones. A log that was put aside meanwhile is read to its end first."""
    if folder.older_log.exists():
        yield from lines_in(folder.older_log.read_text(encoding="utf-8", errors="replace").split("\n"))
    while True:
        try:
            file = folder.log.open("rb")
        except FileNotFoundError:  # the new one is not there yet
            sleep(FOLLOW_SECONDS)
            continue
        with file:
            number, rest, is_aside = os.fstat(file.fileno()).st_ino, b"", False
            while True:
                *whole, rest = (rest + file.read()).split(b"\n")
                yield from lines_in(line.decode(errors="replace") for line in whole)
                if is_aside:
                    break
                sleep(FOLLOW_SECONDS)
                is_aside = file_number(folder.log) != number  # one more look, for what came before


def file_number(path: Path) -> int | None:
    """What tells a file from another one of its name; None where there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
