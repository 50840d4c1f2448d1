"""Folders of actors: gone with the block, and those of processes that were killed with the next one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.executors.ray.actor import remove_scratch
from nas.executors.ray.scratch import PREFIX, own_scratch, sweep

KILLED = """
import os, sys
from nas.executors.ray.scratch import own_scratch
with own_scratch(sys.argv[1]) as folder:
    (folder / "big").write_bytes(b"x")
    os.kill(os.getpid(), 9)
"""


def test_a_folder_lasts_as_long_as_its_block(tmp_path: Path) -> None:
    with own_scratch(str(tmp_path)) as one, own_scratch(str(tmp_path)) as two:
        assert one != two
        assert one.is_dir()  # the second did not take it for an abandoned one
    with pytest.raises(ValueError, match="torn"), own_scratch(str(tmp_path)):
        raise ValueError("torn")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next(tmp_path: Path) -> None:
    (tmp_path / "another").mkdir()
    subprocess.run([sys.executable, "-P", "-c", KILLED, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    with own_scratch(str(tmp_path)) as own:
        assert {path.name for path in tmp_path.iterdir()} == {"another", own.name}


def test_a_folder_without_a_mark_is_being_made_for_a_while(tmp_path: Path) -> None:
    (tmp_path / "x-new").mkdir()
    (tmp_path / "x-old").mkdir()
    os.utime(tmp_path / "x-old", (1e9, 1e9))
    sweep(tmp_path, "x-")
    assert [path.name for path in tmp_path.iterdir()] == ["x-new"]


def test_nothing_but_scratch_is_removed_on_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor that had not said where it works: "" would be the folder that Ray itself lives in."""
    monkeypatch.chdir(tmp_path)
    for name in (f"{PREFIX}x", f"{PREFIX}y", "else"):
        (tmp_path / name).mkdir()
    remove_scratch(["", ".", f"{PREFIX}y", str(tmp_path), str(tmp_path / "else"), str(tmp_path / f"{PREFIX}x")])
    assert {path.name for path in tmp_path.iterdir()} == {f"{PREFIX}y", "else"}


SHARING = """
import sys, tempfile
from nas.executors.ray.scratch import shared_scratch
tempfile.tempdir = sys.argv[1]
print(shared_scratch(sys.argv[2], prefix="tune-"))
sys.stdin.read() if len(sys.argv) > 3 else None
"""


def sharing(base: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-c", SHARING, str(base), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_shared_folder_lasts_as_long_as_one_of_its_processes(tmp_path: Path) -> None:
    with sharing(tmp_path, "one") as ended, sharing(tmp_path, "one", "stays") as living:
        assert ended.communicate()[0].strip() == str(tmp_path / "tune-one")
        assert living.stdout is not None
        assert living.stdout.readline().strip() == str(tmp_path / "tune-one")
        sweep(tmp_path, "tune-")
        assert (tmp_path / "tune-one").is_dir()
        living.communicate("")
    with sharing(tmp_path, "two") as other:
        other.communicate()
    assert [path.name for path in tmp_path.iterdir()] == ["tune-two"]
