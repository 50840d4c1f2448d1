"""The journal's file: damaged ends cut off, what is damaged before its end named, and read without writing."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from nas.errors import InputError
from nas.files import write_atomically


class HeldLock(JournalFileOpenLock):
    """The lock of a file whose folder this process holds already (`files.sole_holder`): nothing is left to do.

    Optuna's own is a symbolic link, which some file systems do not have.
    """

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class JournalFile(JournalFileBackend):
    """The journal's file, in a folder that this process holds; `line` is the last one that was read."""

    def __init__(self, file: Path) -> None:
        super().__init__(str(file), lock_obj=HeldLock(str(file)))
        self.line = 0

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        for line, record in enumerate(super().read_logs(log_number_from), log_number_from + 1):
            self.line = line
            yield record


def repair(journal: Path) -> int:
    """Cut a damaged end off, drop blank lines, and remove a dead writer's lock; returns how many bytes were damaged.

    Only the holder of the folder may call this. A crash may leave the last lines torn, or filled with NUL; the next
    record would be appended to them, and be lost as well. Raises InputError where whole records follow a damaged line:
    what it held is lost, and they may refer to it.
    """
    stale = journal.with_name(journal.name + ".lock")
    if stale.is_symlink() or stale.exists():
        stale.unlink()
    if not journal.exists():
        return 0
    found = _surveyed(journal)
    if found.has_blanks:
        write_atomically(journal, b"".join(_lines(journal, found.end)))
    else:
        os.truncate(journal, found.end)
    return found.damaged_bytes


def sound_records(journal: Path) -> Iterator[Mapping[str, Any]]:
    """The records of a journal that another process may own: what `repair` would leave of it, and nothing is written.

    Raises InputError where there is no such file, or where `repair` would.
    """
    try:
        end = _surveyed(journal).end
    except OSError as error:
        raise InputError(f"{journal}: cannot be read: {error.strerror}") from None
    return map(json.loads, _lines(journal, end))


@dataclass(frozen=True, slots=True)
class _Surveyed:
    """Where the last record ends, whether blank lines lie before, and how long the damaged rest is."""

    end: int
    has_blanks: bool
    damaged_bytes: int


def _surveyed(journal: Path) -> _Surveyed:
    """Look at every line, one at a time: with tens of thousands of trials the file has hundreds of megabytes."""
    size = end = blanks = blanks_before = 0
    damaged: tuple[int, bytes] | None = None
    with journal.open("rb") as file:
        for number, line in enumerate(file, start=1):
            size += len(line)
            if line.endswith(b"\n") and _is_record(line):
                if damaged is not None:
                    at, text = damaged
                    raise InputError(_damaged(journal, at, repr(text[:40].decode(errors="replace"))))
                end, blanks_before = size, blanks
            elif line.strip():
                damaged = damaged or (number, line.removesuffix(b"\n"))
            else:
                blanks += 1
    return _Surveyed(end, blanks_before > 0, 0 if damaged is None else size - end)


def _lines(journal: Path, end: int) -> Iterator[bytes]:
    """The records before `end`, each with its line's end."""
    with journal.open("rb") as file:
        while file.tell() < end:
            if (line := file.readline()).strip():
                yield line


def _is_record(line: bytes) -> bool:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and {"op_code", "worker_id"} <= record.keys()


def unusable(journal: Path, what: str, error: Exception) -> str:
    """That records of a journal make no sense, in words."""
    return f"{journal}: {what} cannot be used ({error}); restore the file from a copy"


def _damaged(journal: Path, line: int, what: str) -> str:
    return (
        f"{journal}, line {line}: expected a record of the journal, got {what}; records behind it may refer to it. "
        "Restore the file from a copy, or start again in another folder (--out)"
    )


def storage_of(journal: Path) -> JournalStorage:
    """Raises InputError where its records cannot be replayed."""
    file = JournalFile(journal)
    try:
        return JournalStorage(file)
    except (LookupError, ValueError, TypeError, AttributeError, AssertionError) as error:
        raise InputError(_damaged(journal, file.line, f"one that cannot be replayed ({error})")) from error
