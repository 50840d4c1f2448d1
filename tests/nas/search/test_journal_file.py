"""The journal's file: damaged ones are repaired or named, with locks of dead writers and without links."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from journals import DIRECTIONS, ask, fill, same, tell
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nas.errors import InputError
from nas.search.journal import Journal
from nas.search.journal_file import repair, sound_records

CHOICE = json.dumps({"name": "CategoricalDistribution", "attributes": {"choices": [1, 2]}})


def sound_journal() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "study.log")
        return (Path(folder) / "study.log").read_bytes()


SOUND = sound_journal()


def test_torn_last_record_at_every_offset(tmp_path: Path) -> None:
    file = tmp_path / "study.log"
    fill(file)
    whole = file.read_bytes()
    start = whole.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(start, len(whole)):
        file.write_bytes(whole[:end])
        assert repair(file) == end - start
        assert file.read_bytes() == whole[:start]
    journal = Journal(file, "study", DIRECTIONS)
    assert [trial.state for trial in journal.trials()] == [TrialState.COMPLETE] * 3
    number = ask(journal)
    tell(journal, number)
    assert number == 3
    assert all(map(same, Journal(file, "study", DIRECTIONS).trials(), journal.trials()))


def test_whole_file_and_missing_file_need_no_repair(tmp_path: Path) -> None:
    file = tmp_path / "study.log"
    assert repair(file) == 0
    assert not file.exists()
    fill(file)
    whole = file.read_bytes()
    assert repair(file) == 0
    assert file.read_bytes() == whole


def test_a_large_file_is_looked_at_line_by_line(tmp_path: Path) -> None:
    """With 20 000 trials it has hundreds of megabytes."""
    file = tmp_path / "study.log"
    line = json.dumps({"op_code": 8, "worker_id": "w", "user_attr": "x" * 1000}).encode() + b"\n"
    file.write_bytes(line * 2000 + b"torn")
    tracemalloc.start()
    assert repair(file) == 4
    assert tracemalloc.get_traced_memory()[1] < 500_000
    assert sum(1 for _ in sound_records(file)) == 2000
    assert tracemalloc.get_traced_memory()[1] < 500_000
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["symlink", "file"])
def test_lock_of_a_dead_writer_is_removed(tmp_path: Path, kind: str) -> None:
    file, lock = tmp_path / "study.log", tmp_path / "study.log.lock"
    fill(file)
    if kind == "symlink":
        lock.symlink_to(tmp_path / "gone")
    else:
        lock.write_text("")
    repair(file)
    assert not lock.is_symlink()
    assert not lock.exists()
    ask(Journal(file, "study", DIRECTIONS))


def test_stock_optunas_lock_has_the_name_that_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    original = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append({entry.name for entry in tmp_path.iterdir()})
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    optuna.create_study(storage=storage, study_name="study")
    assert {"study.log", "study.log.lock"} in seen


def test_a_file_system_without_symbolic_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "symlink", refuse)
    monkeypatch.setattr(os, "link", refuse)
    journal = fill(tmp_path / "study.log")
    assert len(journal.trials()) == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.log"]


def damaged(file: Path, at: int, line: bytes, *, replaces: bool) -> None:
    """Put `line` before the record `at`, or in its place."""
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:at], line, *lines[at + replaces :]]))


@pytest.mark.parametrize("end", [b"\0" * 700, b"\0" * 40 + b"\n", b"\n", b" \n\n", b"garbage\n", b'{"op_code": 4}\n'])
@pytest.mark.parametrize("begun", [b"", b'{"op_code": 4, "wor'])
def test_a_damaged_end_is_cut_off(tmp_path: Path, begun: bytes, end: bytes) -> None:
    """What a power loss leaves: the file has grown, and what was written last never reached the disk."""
    file = tmp_path / "study.log"
    journal = fill(file)
    whole = file.read_bytes()
    file.write_bytes(whole + begun + end)
    assert repair(file) == (len(begun + end) if (begun + end).strip() else 0)
    assert file.read_bytes() == whole
    again = Journal(file, "study", DIRECTIONS)
    assert all(map(same, again.trials(), journal.trials()))
    assert ask(again) == 4


def test_blank_lines_are_dropped_wherever_they_are(tmp_path: Path) -> None:
    file = tmp_path / "study.log"
    journal = fill(file)
    whole = file.read_bytes()
    for at in range(len(whole.splitlines()) + 1):
        damaged(file, at, b"\n \n", replaces=False)
        assert repair(file) == 0
        assert file.read_bytes() == whole
    assert all(map(same, Journal(file, "study", DIRECTIONS).trials(), journal.trials()))


@pytest.mark.parametrize("line", [b"\0" * 30 + b"\n", b"garbage\n", b"\xff\xfe\n", b"{}\n", b"[" * 3000 + b"\n"])
@pytest.mark.parametrize("replaces", [True, False])
def test_a_damaged_line_before_whole_ones_is_named(tmp_path: Path, line: bytes, *, replaces: bool) -> None:
    file = tmp_path / "study.log"
    fill(file)
    damaged(file, 2, line, replaces=replaces)
    before = file.read_bytes()
    with pytest.raises(InputError, match=r"study\.log, line 3: expected a record of the journal, got "):
        repair(file)
    assert file.read_bytes() == before, "nothing is lost that somebody might mend by hand"


@pytest.mark.parametrize(
    "record",
    [
        {"op_code": 99},
        {"op_code": 4},
        {"op_code": 4, "study_id": 0, "state": "x"},
        {"op_code": 0, "study_name": "y"},
        {"op_code": 4, "study_id": 0, "state": 0, "params": {"a": 7}, "distributions": {"a": CHOICE}},
    ],
)
def test_a_record_that_cannot_be_replayed_is_named(tmp_path: Path, record: dict[str, Any]) -> None:
    file = tmp_path / "study.log"
    fill(file)
    damaged(file, 1, json.dumps({"worker_id": "w", **record}).encode() + b"\n", replaces=False)
    repair(file)
    with pytest.raises(InputError, match=r"study\.log, line 2: expected a record of the journal, got one that cannot"):
        Journal(file, "study", DIRECTIONS)


def test_records_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    """One key of a whole line is damaged: it can be replayed, and no trial comes of it."""
    file = tmp_path / "study.log"
    fill(file)
    file.write_bytes(file.read_bytes().replace(b'"params"', b'"parame"', 2).replace(b'"parame"', b'"params"', 1))
    with pytest.raises(InputError, match=r"study\.log: trial 1 of 'study' cannot be used \(Inconsistent parameters"):
        Journal(file, "study", DIRECTIONS)


@given(st.data())
def test_whatever_is_damaged_is_repaired_or_named(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A run of bytes is overwritten, removed or put in: the journal opens or one error names the file, never else."""
    file = tmp_path_factory.getbasetemp() / "damaged.log"
    file.write_bytes(SOUND)
    start = data.draw(st.integers(0, len(SOUND)))
    end = min(len(SOUND), start + data.draw(st.integers(0, 600)))
    file.write_bytes(
        SOUND[:start] + data.draw(st.sampled_from((b"", b"\0" * (end - start), b"\n", b"x"))) + SOUND[end:]
    )
    try:
        repair(file)
        Journal(file, "study", DIRECTIONS)
    except InputError as error:
        assert re.match(r".*damaged\.log(, line|: trial) \d+", str(error))  # noqa: PT017
