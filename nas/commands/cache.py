"""`nas cache`: where decoded images and measured latencies are kept, how large that is, and how to be rid of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from nas.data.cache import ENTRY_FILES, UNFINISHED
from nas.data.tables import megabytes

_KEY = r"[0-9a-f]{24}"
# What this program writes there, by name; anything else is somebody else's and is neither counted nor removed.
KINDS = {
    "decoded images": re.compile(_KEY),
    "arrays unpacked from .npz files": re.compile(rf".+-{_KEY}\.npy"),
    "files that were found to be images": re.compile(rf"{_KEY}\.ok"),
    "latencies of untrained candidates": re.compile(rf"latency-{_KEY}\.json"),
    "unfinished": re.compile(rf"(\.latency-|.*-)?{_KEY}.*{re.escape(UNFINISHED)}"),
}


@dataclass(frozen=True)
class Entry:
    """A file or folder of the cache."""

    path: Path
    kind: str
    size_bytes: int


def entries(folder: Path) -> Iterator[Entry]:
    """What this program keeps in `folder`, in the order of names; none where there is no such folder."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        kind = next((kind for kind, pattern in KINDS.items() if pattern.fullmatch(path.name)), None)
        if kind is not None and not path.is_symlink() and _is_ours(path):
            yield Entry(path, kind, _size(path))


def clear(folder: Path) -> int:
    """Remove all of it and return its bytes. A run that has images mapped keeps them until it ends."""
    removed = 0
    for entry in entries(folder):
        with suppress(FileNotFoundError):  # another process was faster
            if entry.path.is_dir():
                shutil.rmtree(entry.path)
            else:
                entry.path.unlink()
        removed += entry.size_bytes
    return removed


def cache_table(folder: Path) -> Table:
    """How many entries of each kind there are, and their size."""
    table = Table()
    for column in ("what", "entries", "size"):
        table.add_column(column, justify="left" if column == "what" else "right", no_wrap=True)
    found = list(entries(folder))
    for kind in KINDS:
        if own := [entry.size_bytes for entry in found if entry.kind == kind]:
            table.add_row(kind, f"{len(own):,}", megabytes(sum(own)))
    table.add_section()
    table.add_row("all", f"{len(found):,}", megabytes(sum(entry.size_bytes for entry in found)))
    return table


def _is_ours(path: Path) -> bool:
    """Whether a folder holds nothing but the files of an entry."""
    return not path.is_dir() or {file.name for file in path.iterdir()} <= ENTRY_FILES


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    total = 0
    for file in files:
        with suppress(FileNotFoundError):
            total += 0 if file.is_dir() else file.lstat().st_size
    return total
