"""Decoded images on disk, mapped into memory by every process that uses them.

An entry is a folder: images.npy and skipped.json, the reasons of what could not be read. It is written under another
name and renamed when whole, so a reader sees both files or none, and writers of the same entry cannot mix theirs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nas.data.records import Array

Faults = dict[int, str]
Block = tuple[Array, Faults]  # uint8 (n, C, H, W) and why images at some positions are not in it
UNFINISHED, ABANDONED_SECONDS = ".tmp", 24 * 3600
ENTRY_FILES = {"images.npy", "skipped.json"}


def cache_folder() -> Path:
    """Where decoded images are kept: COMPACT_NAS_CACHE, or compact-nas in the user's cache folder.

    A user without a home has a folder beside the temporary files, which nobody else may write.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(os.environ.get("COMPACT_NAS_CACHE") or f"{base}/compact-nas").expanduser()
    except RuntimeError:  # no HOME, and no entry of this user in the system's list
        return _private(Path(tempfile.gettempdir()) / f"compact-nas-cache-{os.getuid()}")


def _private(folder: Path) -> Path:
    """The folder, made if missing; if another user made it, a path that cannot be written: images stay in memory."""
    with suppress(OSError):
        folder.mkdir(mode=0o700)
    is_own = folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid()
    return folder if is_own else Path(os.devnull) / folder.name


def key_of(text: str) -> str:
    """A short name for all that an entry depends on."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:24]


def is_marked(key: str) -> bool:
    return (cache_folder() / f"{key}.ok").exists()


def set_mark(key: str) -> None:
    """Remember that a check passed; a cache that cannot be written only costs time."""
    with suppress(OSError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        (cache_folder() / f"{key}.ok").touch()


def stored(key: str) -> Block | None:
    """An entry, copy on write so that torch may wrap it; None where it is missing or torn by a crash."""
    entry = cache_folder() / key
    with suppress(OSError, ValueError, EOFError):
        images = np.load(entry / "images.npy", mmap_mode="c", allow_pickle=False)
        skipped = json.loads((entry / "skipped.json").read_text(encoding="utf-8"))
        return images, {int(position): reason for position, reason in skipped.items()}
    return None


def store(key: str, blocks: Iterable[Block], shape: tuple[int, ...]) -> Block | None:
    """Write an entry block by block, never holding more than one, and map it; `shape` is one image's.

    None where it holds no image. Raises OSError where it cannot be written.
    """
    with _unfinished_folder(key) as folder:
        faults = _write(folder, blocks, shape)
        if faults is not None:
            _publish(folder, cache_folder() / key)
    return stored(key)


@contextmanager
def _unfinished_folder(key: str) -> Iterator[Path]:
    _sweep(cache_folder())
    folder = cache_folder() / f"{key}.{os.getpid()}.{uuid.uuid4().hex[:8]}{UNFINISHED}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Remove what processes that were killed left behind a day ago or earlier."""
    for path in root.glob(f"*{UNFINISHED}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def _write(folder: Path, blocks: Iterable[Block], shape: tuple[int, ...]) -> Faults | None:
    """Both files of an entry. Plain writes and no memory map: on a full disk a map kills the process (SIGBUS)."""
    count, faults = 0, Faults()
    with (folder / "images.npy").open("wb") as out:
        _write_header(out, (count, *shape))
        for images, found in blocks:
            out.write(np.ascontiguousarray(images).data)
            count += len(images)
            faults |= found
        out.seek(0)
        _write_header(out, (count, *shape))  # NumPy pads headers, so a larger count takes no more room
        out.flush()
        os.fsync(out.fileno())
    (folder / "skipped.json").write_text(json.dumps(faults), encoding="utf-8")
    return faults if count else None


def _write_header(out: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_2_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _publish(folder: Path, entry: Path) -> None:
    """Rename into place. An entry that another process finished meanwhile stays; a torn one gives way."""
    try:
        folder.rename(entry)
    except OSError:
        if stored(entry.name) is None:
            shutil.rmtree(entry)
            folder.rename(entry)
