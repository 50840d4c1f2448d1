"""Folders that processes on nodes work in: removed at the end, or by the next one on that machine where nobody could.

Each is held by flocks, which the kernel releases when a process dies.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TextIO

from nas.files import is_locked

PREFIX, HELD = "compact-nas-ray-", ".held"
MAKING_SECONDS = 60.0


@contextmanager
def own_scratch(root: str = "", *, prefix: str = PREFIX) -> Iterator[Path]:
    """A new folder below `root` (by default the machine's temporary folder), while it lasts; abandoned ones go."""
    base = Path(root or tempfile.gettempdir())
    sweep(base, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    try:
        with _held(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def shared_scratch(name: str, *, prefix: str) -> Path:
    """The folder of this name below the machine's temporary folder, held until this process ends; abandoned ones go.

    Other processes may hold it as well.
    """
    base = Path(tempfile.gettempdir())
    folder = base / f"{prefix}{name}"
    sweep(base, prefix, but=folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    _OPEN.append(_held(folder))
    return folder


_OPEN: list[TextIO] = []


def _held(folder: Path) -> TextIO:
    """Hold a folder until what is returned is closed: there is no moment in which its mark is there and not locked."""
    new = folder / f".new-{os.getpid()}"
    mark = new.open("w")
    fcntl.flock(mark, fcntl.LOCK_EX)
    new.rename(folder / f"{HELD}-{os.getpid()}")
    return mark


def sweep(base: Path, prefix: str = PREFIX, *, but: Path | None = None) -> None:
    """Remove the folders of this user whose processes are gone."""
    for folder in base.glob(f"{prefix}*"):
        with suppress(OSError):  # of another user, or removed meanwhile
            if folder != but and folder.stat().st_uid == os.getuid() and _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    """Whether nobody holds it. Without a mark it is being made, or was being removed when somebody wrote into it."""
    marks = list(folder.glob(f"{HELD}*"))
    return not any(map(is_locked, marks)) if marks else time.time() - folder.stat().st_mtime > MAKING_SECONDS
