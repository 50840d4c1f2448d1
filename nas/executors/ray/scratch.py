"""Folders that actors work in: removed at the end, or by the next actor on that machine where nobody could.

Each is held by an flock, which the kernel releases when its process dies.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nas.files import is_locked

PREFIX, HELD = "compact-nas-ray-", ".held"


@contextmanager
def own_scratch(root: str = "", *, prefix: str = PREFIX) -> Iterator[Path]:
    """A new folder below `root` (by default the machine's temporary folder), while it lasts; abandoned ones go."""
    base = Path(root or tempfile.gettempdir())
    sweep(base, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    try:
        with (folder / HELD).open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(base: Path, prefix: str = PREFIX) -> None:
    """Remove the folders of this user whose processes are gone."""
    for folder in base.glob(f"{prefix}*"):
        with suppress(OSError):  # of another user, or removed meanwhile; without a lock it is being made
            if folder.stat().st_uid == os.getuid() and not is_locked(folder / HELD):
                shutil.rmtree(folder, ignore_errors=True)
