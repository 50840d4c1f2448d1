"""An artifact folder as bytes and back, for results of executors without a shared disk."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from nas.files import write_atomically
from nas.records import Evaluation
from nas.run_folder.attempts import forget_spent
from nas.tasks import CHECKPOINT_FILE, Task

EVALUATION_FILE = "evaluation.json"
LIMIT_BYTES, LIMIT_FILES = 4 * 10**9, 1000


class ArtifactError(ValueError):
    """Bytes that are no artifact folder; nothing of them was written."""


def pack(folder: Path) -> bytes:
    """Every file of a finished evaluation as a tar archive; equal files give equal bytes.

    evaluation.json comes last, so that a torn archive has none. Checkpoints, hidden files (unfinished writes) and links
    stay behind.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
        for name in sorted(_names(folder), key=lambda name: (name == EVALUATION_FILE, name)):
            content = (folder / name).read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _names(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not path.is_symlink() and not hidden and name.name != CHECKPOINT_FILE:
            yield name.as_posix()


def unpack(data: bytes, task: Task, *, limit_bytes: int = LIMIT_BYTES) -> None:
    """Write what `pack` made into the task's folder, evaluation.json last, and remove the checkpoint and the note of
    attempts that it supersedes.

    Raises ArtifactError before anything is written where the archive is torn, holds more than `limit_bytes` or
    LIMIT_FILES, anything but regular files within the folder, or no valid evaluation.json of this task at its end.
    """
    files = _files(data, limit_bytes)
    if list(files)[-1:] != [EVALUATION_FILE]:
        raise ArtifactError(
            f"expected {EVALUATION_FILE} at the end of the archive, got {', '.join(files) or 'no file'}"
        )
    evaluation = files.pop(EVALUATION_FILE)
    _check_evaluation(evaluation, task)
    for name, content in files.items():
        write_atomically(task.folder / name, content)
    write_atomically(task.folder / EVALUATION_FILE, evaluation)
    (task.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    forget_spent(task.folder)


def _check_evaluation(text: bytes, task: Task) -> None:
    try:
        found = Evaluation.model_validate_json(text)
    except ValueError:
        raise ArtifactError(f"{EVALUATION_FILE}: expected an evaluation, got something else") from None
    came, expected = (found.candidate_id, found.phase, found.seed), (task.candidate.id, task.phase, task.seed)
    if came != expected:
        raise ArtifactError(f"{EVALUATION_FILE}: expected candidate, phase and seed {expected}, got {came}")


def _files(data: bytes, limit_bytes: int) -> dict[str, bytes]:
    """Content by name, in the archive's order."""
    found: dict[str, bytes] = {}
    left = limit_bytes
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8") as archive:
            for member in archive:
                _check(member, found)
                left -= member.size
                if left < 0 or len(found) >= LIMIT_FILES:
                    raise ArtifactError(f"expected at most {limit_bytes} bytes and {LIMIT_FILES} files, got more")
                content = archive.extractfile(member)
                assert content is not None  # a regular file's
                found[member.name] = content.read()
                if len(found[member.name]) != member.size:
                    raise ArtifactError(f"{member.name}: expected {member.size} bytes, got {len(found[member.name])}")
    except (tarfile.TarError, UnicodeError, EOFError, OverflowError) as error:
        raise ArtifactError(f"expected an archive of an artifact folder: {error}") from None
    return found


def _check(member: tarfile.TarInfo, found: dict[str, bytes]) -> None:
    """Only regular files, each once, by a plain relative name."""
    name = PurePosixPath(member.name)
    plain = member.name == name.as_posix() and not name.is_absolute() and "\0" not in member.name
    if not plain or any(part.startswith(".") or "\\" in part for part in name.parts) or not name.parts:
        raise ArtifactError(f"expected names within the folder, got {member.name!r}")
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise ArtifactError(f"{member.name}: expected a regular file, got a link, folder or device")
    clashes = {str(parent) for parent in name.parents} & found.keys()
    if member.name in found or clashes or any(other.startswith(f"{member.name}/") for other in found):
        raise ArtifactError(f"{member.name}: expected each name once")
