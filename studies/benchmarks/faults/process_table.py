"""Processes of this machine, as /proc shows them: who came of whom, what each runs, and waiting for them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
STARTED = set[int]()  # children whose ends are waited for by those who started them
POLL_SECONDS = 0.05
LONGEST_SECONDS = 900.0  # of a run, or of the way back into one: beyond it something hangs


def adopt() -> None:
    """Become the parent of every descendant whose own parent has ended, so that none can hide."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def reap() -> None:
    """Take leave of adopted children that have ended: to those who ask whether their parent lives, a zombie does."""
    for pid in processes():
        state, parent = standing_of(pid)
        if state == "Z" and parent == os.getpid() and pid not in STARTED:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def descendants(of: int | None = None) -> list[int]:
    """Living processes that came of one, this one by default, by their parents."""
    parents = {pid: parent for pid in processes() if (parent := parent_of(pid))}
    found, own = list[int](), {os.getpid() if of is None else of}
    while more := [pid for pid, parent in parents.items() if parent in own and pid not in own]:
        own.update(more)
        found += more
    return found


def parent_of(pid: int) -> int | None:
    """None for what has ended, zombies included."""
    state, parent = standing_of(pid)
    return None if state == "Z" else parent


def standing_of(pid: int) -> tuple[str, int | None]:
    """A process's state (R at work, Z a zombie) and its parent; nothing of one that is gone."""
    try:
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return "", None
    return state, int(parent)


def is_running(pid: int) -> bool:
    """Whether it computes just now."""
    return standing_of(pid)[0] == "R"


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def environment_of(pid: int) -> bytes:
    """Empty for what has ended, zombies included."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def send(pid: int, number: signal.Signals) -> bool:
    """Whether the process was still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition: Callable[[], bool], seconds: float = LONGEST_SECONDS) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
