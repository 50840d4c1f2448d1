"""How work ends before its end: Ctrl-C once or twice, and SIGTERM with a notice in which checkpoints are written."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console

from nas.tasks import Verdict

NOTICE_SECONDS = 25.0  # schedulers send SIGKILL 30 seconds after SIGTERM, or later
TERMINATED = 128 + signal.SIGTERM


class Interrupted(Exception):
    """Ctrl-C was pressed twice."""


class Terminated(SystemExit):
    """SIGTERM has come, and what was running is paused, or the notice is over."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


def nothing_known() -> str:
    return ""


@dataclass
class Stop:
    """Ctrl-C, counted: once means finish what is running, twice means now. SIGTERM means pause what is running.

    While `watched` somebody looks, and ends the work in order: `deadline` is by when, in seconds of the monotonic
    clock, once SIGTERM has come. Else SIGTERM, or the second Ctrl-C, is raised at once.
    """

    presses: int = 0
    console: Console = field(default_factory=Console)
    watched: bool = False
    left: Callable[[], str] = nothing_known
    notice_seconds: float = NOTICE_SECONDS
    deadline: float | None = None
    _told: bool = False

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        previous = self._install()
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _install(self) -> dict[int, signal.Handlers | Callable[..., object] | int | None]:
        """Set the handlers; returns those there were. Python lets its main thread alone set any."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        handlers = {signal.SIGINT: self._pressed, signal.SIGTERM: self._terminated}
        return {number: signal.signal(number, handler) for number, handler in handlers.items()}

    def _pressed(self, *_: object) -> None:
        self.presses += 1
        if self.presses == 1 and not self.is_terminated:
            left = f", about {words}" if (words := self.left()) else ""
            self.console.print(f"[yellow]Finishing what is running{left}; press Ctrl-C again to stop now.[/]")
        elif not self.watched or self.presses > 2:
            raise KeyboardInterrupt
        elif self.is_terminated:
            self.deadline = time.monotonic()  # the notice is over

    def _terminated(self, *_: object) -> None:
        """Nothing is printed here: the signal may have come in the middle of a line."""
        if not self.watched:
            raise Terminated
        self.deadline = self.deadline or time.monotonic() + self.notice_seconds

    @contextmanager
    def watching(self, left: Callable[[], str] = nothing_known) -> Iterator[None]:
        """While it lasts somebody looks; `left` says how long what runs still takes."""
        self._install()  # again: a library that was started meanwhile may have put its own in their place
        self.watched, self.left = True, left
        try:
            yield
        finally:
            self.watched, self.left = False, nothing_known

    @property
    def asked(self) -> bool:
        return self.presses > 0 or self.is_terminated

    @property
    def is_terminated(self) -> bool:
        return self.deadline is not None

    def check(self) -> None:
        """Raise what ends the work now: Interrupted at the second Ctrl-C, Terminated when the notice is over."""
        if self.deadline is None:
            if self.presses > 1:
                raise Interrupted
            return
        if not self._told:
            self._told = True
            self.console.print("[yellow]SIGTERM: what is running is paused at its next checkpoint.[/]")
        if self.presses > 1 or time.monotonic() >= self.deadline:
            raise Terminated

    def verdict(self, verdict: Verdict) -> Verdict:
        """What a training is answered: after SIGTERM one that would go on pauses."""
        return Verdict.PAUSE if self.is_terminated and verdict is Verdict.CONTINUE else verdict
