from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from nas.process import Process, boot_id, uptime

linux = pytest.mark.skipif(sys.platform != "linux", reason="read off /proc")


@linux
def test_this_process_is_alive() -> None:
    assert Process.here().is_alive
    assert Process.here() == Process.here()


@linux
def test_another_process_of_the_same_id_is_not_taken_for_it() -> None:
    """Process ids are given again: that one began at another tick."""
    own = Process.here()
    assert replace(own, began=own.began + 1).is_alive is False


@linux
def test_a_process_that_ended_is_dead_even_while_its_parent_has_not_looked() -> None:
    script = "from nas.process import Process; print(repr(Process.here()), flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdin is not None  # noqa: PT018
    told = eval(child.stdout.readline(), {"Process": Process})
    assert told.pid == child.pid
    assert told.is_alive
    child.kill()
    deadline = time.monotonic() + 10
    while told.is_alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert told.is_alive is False  # a zombie now: nobody has waited for it
    child.wait()
    assert told.is_alive is False
    child.stdin.close()
    child.stdout.close()


@linux
@pytest.mark.parametrize("elsewhere", [{"boot": "another start"}, {"boot": ""}, {"namespace": "pid:[1]"}, {"began": 0}])
def test_what_cannot_be_seen_from_here_is_not_said_to_be_dead(elsewhere: dict[str, object]) -> None:
    assert replace(Process.here(), pid=2**22 + 1, **elsewhere).is_alive is None


@linux
def test_the_uptime_is_comparable_within_one_start_of_one_machine() -> None:
    own = Process.here()
    assert own.is_comparable
    assert own.boot == boot_id()
    assert not replace(own, boot="another").is_comparable


def test_the_uptime_only_grows() -> None:
    first = uptime()
    assert 0 < first <= uptime()
