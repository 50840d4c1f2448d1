"""Files are whole or absent, and a folder has one holder."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nas.errors import InputError
from nas.files import readable, remove_unfinished, sole_holder, write_atomically


def test_what_is_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.txt"
    for content in ("first", "", "ü", b"\0\xff"):
        write_atomically(file, content)
        assert file.read_bytes() == (content.encode() if isinstance(content, str) else content)
        assert [entry.name for entry in file.parent.iterdir()] == ["a.txt"]


def test_the_old_content_stays_where_a_write_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk says that it is full at the last moment: when what was written is synced."""
    file = tmp_path / "a.txt"
    write_atomically(file, "old")

    def full(_: int) -> None:
        assert file.read_text() == "old", "the file itself is not written to"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, "new and much longer")
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_signal_in_the_middle_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def terminated(_: int) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(os, "fsync", terminated)
    with pytest.raises(SystemExit):
        write_atomically(tmp_path / "a.txt", "new")
    assert not list(tmp_path.iterdir())


def test_what_is_written_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, synced = tmp_path / "a.txt", list[bytes]()

    def fsync(_: int) -> None:
        synced.extend(b"too late" if entry == file else entry.read_bytes() for entry in tmp_path.iterdir())

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(file, "content")
    assert b"content" in synced
    assert b"too late" not in synced


def test_a_path_that_is_not_text_is_handed_out_as_content(tmp_path: Path) -> None:
    plain, other = tmp_path / "ü.onnx", tmp_path / os.fsdecode(b"\xff.onnx")
    for file in (plain, other):
        write_atomically(file, b"model")
    assert readable(plain) == str(plain)
    assert readable(other) == b"model"


HOLDER = """
import sys, time
from pathlib import Path
from nas.files import sole_holder
with sole_holder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_holder_at_a_time_and_free_after_kill(tmp_path: Path) -> None:
    lock = tmp_path / "study.lock"
    command = [sys.executable, "-P", "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with pytest.raises(InputError, match=rf"another `nas run` \(process {other.pid}\) works in this folder"):
                with sole_holder(lock):
                    pytest.fail("two holders")
        finally:
            other.send_signal(signal.SIGKILL)
        other.wait()
    with sole_holder(lock):
        assert lock.read_text() == f"{os.getpid()}\n"
    with sole_holder(lock):
        pass


def test_what_a_killed_process_was_writing_is_removed_and_nothing_else(tmp_path: Path) -> None:
    names = (".a.csv.17.tmp", "a.csv", ".hidden", "b.tmp", ".tmp-folder")
    for name in names[:-1]:
        (tmp_path / name).write_text("x")
    (tmp_path / names[-1]).mkdir()
    remove_unfinished(tmp_path)
    remove_unfinished(tmp_path / "not there")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])
