"""`nas status`: how a run stands, once or again and again, on any machine that sees its folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.live import Live
from rich.text import Text

from nas.commands.status_words import as_json, lines_of
from nas.errors import InputError
from nas.report.status import LOG_BYTES, Status, status_of
from nas.run_folder.heartbeat import PLAUSIBLE_SECONDS, Heartbeat, Life, Sign, look, read_heartbeat, sign_of
from nas.run_folder.log import read_log
from nas.run_folder.paths import RunFolder
from nas.study.file import load_recorded

WATCH_EVERY_SECONDS = 2.0
SILENT_SECONDS = 30.0  # between two reports in a pipe
Sleep = Callable[[float], object]


def show_status(
    path: Path, style: Literal["text", "json"], *, watch: bool, console: Console, sleep: Sleep = time.sleep
) -> None:
    """Print how the run in the folder `path` stands; while watched, until it is over.

    Raises InputError where there is no run folder.
    """
    folder = RunFolder(path)
    if not folder.study.exists():
        begins = "; a driver may be reading the data still" if folder.lock.exists() else ""
        raise InputError(f"{path}: expected a run folder, with study.yaml in it{begins}")
    if watch:
        _watch(folder, style, console, sleep)
    else:
        _print(read_status(folder, look(folder, sleep=sleep)), style, console)


def read_status(folder: RunFolder, sign: Sign) -> Status:
    """The run, of which this is the last sign of life."""
    return status_of(folder, load_recorded(folder.study), sign, read_log(folder, last_bytes=LOG_BYTES))


def _print(status: Status, style: Literal["text", "json"], console: Console) -> None:
    if style == "json":
        print(as_json(status), end="", flush=True)
        return
    for line in lines_of(status):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _watch(folder: RunFolder, style: Literal["text", "json"], console: Console, sleep: Sleep) -> None:
    """A screen that is renewed; in a pipe, and as JSON, a report now and then."""
    signs, is_screen = Signs(folder), console.is_terminal and style == "text"
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") if is_screen else nullcontext() as live:
        while True:
            status = read_status(folder, signs.next())
            if live is not None:
                live.update(Text("\n".join(lines_of(status))), refresh=True)
            else:
                _print(status, style, console)
            if status.is_over:
                return
            sleep(WATCH_EVERY_SECONDS if is_screen else SILENT_SECONDS)


class Signs:
    """Signs of life, one after the other: what clocks cannot tell, the beats that come between two looks do."""

    def __init__(self, folder: RunFolder, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._beat: Heartbeat | None = None
        self._since = clock()
        self._last = Sign(Life.UNKNOWN, None)

    def next(self) -> Sign:
        beat, earlier = read_heartbeat(self._folder), self._beat
        if beat != earlier:
            self._beat, self._since = beat, self._clock()
        elif self._clock() - self._since < PLAUSIBLE_SECONDS:
            earlier = None  # not long enough to say anything
        self._last = sign_of(beat, earlier=earlier) or (
            self._last if beat == self._last.beat else Sign(Life.UNKNOWN, beat)
        )
        return self._last
