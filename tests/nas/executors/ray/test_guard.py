"""What has files open in a folder ends with the process that guards it, and nothing else does."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nas.executors.ray.guard import guarded, users_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells who has a file open")
HOLDING = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
file = open(sys.argv[1], "w")
print("open", flush=True)
time.sleep(60)
"""
DRIVING = """
import sys, time
from pathlib import Path
from nas.executors.ray.guard import guarded
with guarded(Path(sys.argv[1])):
    print("guarded", flush=True)
    time.sleep(60)
"""


def begun(script: str, argument: Path) -> subprocess.Popen[str]:
    """A process that has said its first line."""
    process = subprocess.Popen([sys.executable, "-c", script, str(argument)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


@pytest.mark.parametrize("killed", [False, True])
def test_what_belongs_to_a_folder_ends_with_its_driver(killed: bool, tmp_path: Path) -> None:
    own, beside = tmp_path / "ray", tmp_path / "ray-of-another"
    own.mkdir()
    beside.mkdir()
    held, other = begun(HOLDING, own / "log"), begun(HOLDING, beside / "log")
    try:
        assert users_of(str(own), but=0) == [held.pid]
        assert users_of(str(own), but=held.pid) == []
        if killed:
            driver = begun(DRIVING, own)
            driver.kill()
            driver.wait()
        else:
            with (own / "this process may").open("w"), guarded(own):
                assert held.poll() is None
        assert held.wait(20) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        held.kill()
        other.wait()
