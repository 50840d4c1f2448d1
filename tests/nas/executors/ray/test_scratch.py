"""Folders of actors: gone with the block, and those of processes that were killed with the next one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nas.executors.ray.scratch import own_scratch

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
