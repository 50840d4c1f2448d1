"""Files of a run folder on their way between machines that share no disk: content by path below the run folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath

from nas.files import write_atomically
from nas.run_folder.artifacts import EVALUATION_FILE
from nas.run_folder.attempts import NOTE
from nas.run_folder.paths import LOCK, LOGITS
from nas.tasks import CHECKPOINT_FILE, Task
from search_spaces.existing.known import NETWORK_FILE, WEIGHTS_FILE

Parcel = dict[str, bytes]
LAST = (EVALUATION_FILE, LOGITS)  # marks of what is finished: written when all that they mark is there
HERE = "."  # the folder itself, as `below`


class ParcelError(ValueError):
    """A parcel that holds what it should not; nothing of it was written."""


def packed(root: Path, folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> Parcel:
    """The wanted files of a folder below `root`, those that mark it as finished last; none where it is not there.

    Hidden files (unfinished writes), links and locks stay behind.
    """
    names = sorted(filter(wanted, _names(folder)), key=lambda name: (PurePosixPath(name).name in LAST, name))
    found = ((folder / name).relative_to(root).as_posix() for name in names)
    return {name: (root / name).read_bytes() for name in found}


def network_of(root: Path) -> Parcel:
    """The files of the existing network that a run is about; none where it is about none."""
    files = (root / name for name in (NETWORK_FILE, WEIGHTS_FILE))
    return {file.name: file.read_bytes() for file in files if file.exists()}


def _names(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not path.is_symlink() and not hidden and name.name != LOCK:
            yield name.as_posix()


def written(parcel: Mapping[str, bytes], root: Path, *, below: Collection[str]) -> None:
    """Write a parcel below `root`, each file whole or not at all, in its order.

    Raises ParcelError before anything is written where a file is in none of the folders `below`.
    """
    for name in parcel:
        path = PurePosixPath(name)
        plain = name == path.as_posix() and not path.is_absolute() and not any(p.startswith(".") for p in path.parts)
        if not plain or "\\" in name or "\0" in name or not {str(parent) for parent in path.parents} & set(below):
            raise ParcelError(f"expected files in {', '.join(sorted(below))}, got {name!r}")
    for name, content in parcel.items():
        write_atomically(root / name, content)


def progress_of(task: Task, root: Path) -> Parcel:
    """What another worker needs to go on with a task: its checkpoint, the notes of its attempts and its rungs."""
    own = packed(root, task.folder, lambda name: name in (CHECKPOINT_FILE, NOTE))
    for share in task.rungs:
        own |= packed(root, task.at_rung(share).folder, lambda name: name == EVALUATION_FILE)
    return own


def folders_of(task: Task, root: Path) -> tuple[str, ...]:
    """Folders below `root` that a worker of this task writes in, without a teacher's."""
    folders = (task.folder, *(task.at_rung(share).folder for share in task.rungs))
    return tuple(folder.relative_to(root).as_posix() for folder in folders)
