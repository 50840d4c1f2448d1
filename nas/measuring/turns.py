"""One measurement at a time on a machine; training pauses meanwhile."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def _open_lock(name: str) -> int:
    path = Path(tempfile.gettempdir()) / f"compact-nas-{name}.lock"
    try:
        return _open(path)
    except OSError:
        # Another user's file that cannot be opened: exclusion among this user's processes is what is left.
        return _open(path.with_name(f"{path.stem}-{os.getuid()}.lock"))


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)  # a sticky folder may forbid O_CREAT on another user's file
    except FileNotFoundError:
        descriptor = os.open(path, flags | os.O_CREAT, 0o666)
    if os.fstat(descriptor).st_uid == os.getuid():
        os.fchmod(descriptor, 0o666)
    return descriptor


@contextmanager
def exclusive() -> Iterator[None]:
    """Hold the machine alone: no other measurement runs, training pauses at its next batch."""
    gate, busy = _open_lock("gate"), _open_lock("busy")
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(busy, fcntl.LOCK_EX)
        yield
    finally:
        os.close(busy)
        os.close(gate)


@contextmanager
def pausing_for_measurements() -> Iterator[Callable[[], None]]:
    """For work that gives way: call what this yields between two batches; it blocks while someone measures."""
    gate, busy = _open_lock("gate"), _open_lock("busy")

    def give_way() -> None:
        fcntl.flock(busy, fcntl.LOCK_UN)
        fcntl.flock(gate, fcntl.LOCK_SH)
        fcntl.flock(busy, fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)

    try:
        give_way()
        yield give_way
    finally:
        os.close(busy)
        os.close(gate)
