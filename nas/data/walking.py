"""Which files and folders below a data folder are data: not the hidden ones, and not those that systems create."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

# Created by file managers, network storage and operating systems, in lower case. Names that begin with a dot
# (.ipynb_checkpoints, .DS_Store, .thumbnails, ._photo.jpg) are hidden and need no entry.
SYSTEM_NAMES = frozenset(
    {"__macosx", "__pycache__", "@eadir", "@__thumb", "@tmp", "@recycle", "@recently-snapshot", "#recycle"}
    | {"#snapshot", "~snapshot", "found.000", "resource.frk", "finder.dat", "albumartsmall.jpg"}
    | {"$recycle.bin", "recycler", "recycled", "system volume information", "lost+found"}
    | {"network trash folder", "temporary items", "thevolumesettingsfolder"}
    | {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"}
)
Identity = tuple[int, int]  # device and inode of a folder, the same by any name or link


def is_data(name: str) -> bool:
    """Whether a file or folder of this name may be data: it is neither hidden nor created by a system."""
    return not name.startswith(".") and name.casefold() not in SYSTEM_NAMES


def folders_in(folder: Path) -> list[str]:
    """Names of the folders in `folder`, and of links to folders, sorted; without what is no data."""
    return sorted(entry.name for entry in folder.iterdir() if is_data(entry.name) and entry.is_dir())


@dataclass(frozen=True)
class Walk:
    """What lies below a folder, each list sorted: files of the suffixes asked for, other files, and what is no data."""

    files: list[Path]
    others: list[Path]
    hidden: list[Path]


def files_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files below `folder` whose suffix, in lower case, is one of `suffixes`; sorted, at any depth: see `walk`."""
    return walk(folder, suffixes).files


def walk(folder: Path, suffixes: Collection[str]) -> Walk:
    """All that lies below `folder`, at any depth.

    Folders that are links are followed. No folder is read twice, and none that contains `folder`, so loops end.
    Folders, pipes and devices are no files, also with an image's suffix. A broken link is listed: its image is missing.
    """
    known = {found for place in (folder.absolute(), folder.resolve()) for found in map(_identity, place.parents)}
    found: list[Path] = []
    hidden: list[Path] = []
    waiting = [folder]
    while waiting:  # a folder is named by its real place where it is reached both directly and by a link
        links: list[Path] = []
        for start in waiting:
            found += _files(start, known, links, hidden)
        waiting = sorted(links)
    of_suffix = {path: path.suffix.lower() in suffixes for path in sorted(found)}
    return Walk(
        [path for path, wanted in of_suffix.items() if wanted],
        [path for path, wanted in of_suffix.items() if not wanted],
        sorted(hidden),
    )


def _files(start: Path, known: set[Identity | None], links: list[Path], hidden: list[Path]) -> Iterator[Path]:
    """Files of `start` and the folders in it that are not `known` yet.

    Links to folders are put aside into `links`, what is no data into `hidden`.
    """
    if (identity := _identity(start)) in known:
        return
    known.add(identity)
    for entry in sorted(start.iterdir()):
        if not is_data(entry.name):
            hidden.append(entry)
        elif entry.is_dir() and entry.is_symlink():
            links.append(entry)
        elif entry.is_dir():
            yield from _files(entry, known, links, hidden)
        elif entry.is_file() or _leads_nowhere(entry):
            yield entry


def _identity(folder: Path) -> Identity | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _leads_nowhere(entry: Path) -> bool:
    """Whether an entry is a link to what does not exist, or to itself."""
    try:
        return stat.S_ISLNK(entry.lstat().st_mode) and not os.path.exists(entry)
    except OSError:
        return False
