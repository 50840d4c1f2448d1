"""Finished files under a second name: hard links where that is possible, since none is ever changed in place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from nas.run_folder.attempts import NOTE
from nas.run_folder.paths import LOCK
from nas.tasks import CHECKPOINT_FILE

LEFT = (CHECKPOINT_FILE, NOTE, LOCK)  # of what is not finished


def link_folder(source: Path, target: Path, *, without: Collection[str] = ()) -> None:
    """Bring a folder's finished files into `target`, but for those of these names."""
    for file in _files(source):
        if file.name not in without:
            link_file(file, target / file.relative_to(source))


def link_file(source: Path, target: Path) -> None:
    """Leaves a file as it is that is there already."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)


def _files(folder: Path) -> Iterator[Path]:
    """Finished files: no links, nothing hidden, no checkpoints."""
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.is_file() and not file.is_symlink() and not hidden and file.name not in LEFT:
            yield file
