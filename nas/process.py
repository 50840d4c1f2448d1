"""What tells one process from every other, on this machine or another, whatever anybody's clock says."""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Process:
    """A process: its machine and that machine's start, its container's process ids, its id, and when it began.

    `began` counts the kernel's ticks since the machine started; process ids are given again, the pair is not. Where the
    system tells none of this, `boot` and `namespace` are empty and `began` is 0.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    began: int

    @classmethod
    def here(cls) -> Process:
        """This process."""
        return cls(socket.gethostname(), boot_id(), _namespace(), os.getpid(), _ticks(os.getpid()) or 0)

    @property
    def is_comparable(self) -> bool:
        """Whether its `uptime` is that of this machine."""
        return bool(self.boot) and self.boot == boot_id()

    @property
    def is_alive(self) -> bool | None:
        """Whether it lives; None where that cannot be seen from here: on another machine, in another container."""
        if not (self.is_comparable and self.began and self.namespace == _namespace()):
            return None
        return _ticks(self.pid) == self.began


def uptime() -> float:
    """Seconds since this machine started, its sleep included: no clock that anybody sets."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


@cache
def boot_id() -> str:
    """What the kernel calls this start of the machine; empty elsewhere than on Linux."""
    return _BOOT.read_text(encoding="ascii").strip() if sys.platform == "linux" and _BOOT.exists() else ""


def _namespace() -> str:
    """The container's numbering of processes."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _ticks(pid: int) -> int | None:
    """When a process began, in ticks since the machine started; None where there is none, or only its remains."""
    try:
        # Its name stands in brackets, and may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])
