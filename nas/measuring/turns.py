"""One measurement at a time on a machine; training pauses meanwhile.

All processes use the same two lock files, independent of user and environment (TMPDIR, HOME): in the first of PLACES
that every user may write to. Where a file there cannot be opened, the next place is used. A container has its own
folders and thus its own locks, as has a job with a private /tmp and /dev/shm: mount one of PLACES into all that share
the machine. Where no place can be used, only processes with the same temporary folder share their locks.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PLACES = ("/run/lock", "/var/lock", "/dev/shm", "/tmp", "/var/tmp")  # the machine's own, in memory or on a local disk
OPEN_TO_ALL = stat.S_ISVTX | stat.S_IWOTH | stat.S_IXOTH  # everyone may add files, none remove those of others


class Lock:
    """A lock file, held by an flock that the kernel releases when the process dies.

    Raises OSError where it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = _open(path)

    def take(self, kind: int) -> None:
        """Wait for the lock: fcntl.LOCK_EX or LOCK_SH, with LOCK_NB to raise BlockingIOError instead of waiting.

        Where the file was removed meanwhile, as cleaners of temporary folders do, the new one is locked.
        """
        fcntl.flock(self._descriptor, kind)
        while not self._is_current():
            self.close()
            self._descriptor = _open(self.path)
            fcntl.flock(self._descriptor, kind)

    def release(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._descriptor)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.lstat(self.path))
        except OSError:
            return False


def open_locks() -> tuple[Lock, Lock]:
    """The gate, which one passes at a time, and `busy`, which a measurement holds alone and trainings share."""
    for place in filter(_is_open_to_all, map(Path, PLACES)):
        try:
            return _pair(place, "compact-nas")
        except OSError:
            continue  # a link, or another user's file that may not be read
    return _pair(Path(tempfile.gettempdir()), f"compact-nas-{os.getuid()}")


def _is_open_to_all(place: Path) -> bool:
    try:
        mode = place.stat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and mode & OPEN_TO_ALL == OPEN_TO_ALL


def _pair(place: Path, name: str) -> tuple[Lock, Lock]:
    gate = Lock(place / f"{name}-gate.lock")
    try:
        return gate, Lock(place / f"{name}-busy.lock")
    except OSError:
        gate.close()
        raise


def _open(path: Path) -> int:
    """Open for reading, which is all that flock needs, so that any user's file serves; made where it is missing."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)  # a sticky folder may forbid O_CREAT on another user's file
    except FileNotFoundError:
        descriptor = os.open(path, flags | os.O_CREAT, 0o666)
    if os.fstat(descriptor).st_uid == os.getuid():
        os.fchmod(descriptor, 0o666)
    return descriptor


@contextmanager
def exclusive() -> Iterator[None]:
    """Hold the machine alone: no other measurement runs, and training pauses before its next batch."""
    gate, busy = open_locks()
    try:
        gate.take(fcntl.LOCK_EX)
        busy.take(fcntl.LOCK_EX)
        yield
    finally:
        busy.close()
        gate.close()


class GiveWay:
    """The way of work that others measure beside: call it between two batches; it blocks while someone measures."""

    def __init__(self, gate: Lock, busy: Lock) -> None:
        self._gate, self._busy = gate, busy

    def __call__(self) -> None:
        self._busy.release()
        self._gate.take(fcntl.LOCK_SH)
        self._busy.take(fcntl.LOCK_SH)
        self._gate.release()

    @contextmanager
    def to_itself(self) -> Iterator[None]:
        """Inside, this work may measure something itself: it would wait for its own end otherwise."""
        self._busy.release()
        try:
            yield
        finally:
            self()


@contextmanager
def pausing_for_measurements() -> Iterator[GiveWay]:
    """For work that gives way to measurements."""
    gate, busy = open_locks()
    give_way = GiveWay(gate, busy)
    try:
        give_way()
        yield give_way
    finally:
        busy.close()
        gate.close()
