from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nas.process import Process, uptime
from nas.run_folder.heartbeat import (
    PLAUSIBLE_SECONDS,
    QUIET_SECONDS,
    WATCH_SECONDS,
    Ending,
    Heartbeat,
    Life,
    RunningTask,
    look,
    next_beat,
    read_heartbeat,
    sign_of,
    write_heartbeat,
)
from nas.run_folder.paths import RunFolder

HERE = Process.here()
ELSEWHERE = Process("far", "another start", "pid:[1]", 17, 99)
CONTAINER = replace(HERE, namespace="pid:[1]")  # of this machine: ids mean others there, uptimes the same


def beat_of(process: Process, *, clock: float = 0.0, up: float = 0.0, **changes: Any) -> Heartbeat:
    """A beat; `clock` and `up` seconds from now by the two clocks."""
    time = (datetime.now(UTC) + timedelta(seconds=clock)).isoformat(timespec="seconds")
    return Heartbeat(process, 5, time, uptime() + up, 100.0, time, **changes)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_a_beat_comes_back_as_it_was_written(folder: RunFolder) -> None:
    task = RunningTask("search", 3, "ab12", "train, epoch 1.0 of 8", 2.5)
    beat = beat_of(ELSEWHERE, running=(task,), left_seconds=7.5, ending=Ending.FAILED, problem="no disk", workers=4)
    write_heartbeat(folder, beat)
    assert read_heartbeat(folder) == beat
    assert [file.name for file in folder.path.iterdir()] == ["heartbeat.json"]


def test_a_beat_that_fails_leaves_nothing_behind(folder: RunFolder) -> None:
    folder.heartbeat.mkdir()  # in the way of the new one
    with pytest.raises(IsADirectoryError):
        write_heartbeat(folder, beat_of(ELSEWHERE))
    assert list(folder.path.iterdir()) == [folder.heartbeat]


def test_what_a_later_version_adds_is_left_out(folder: RunFolder) -> None:
    beat = beat_of(ELSEWHERE)
    read = json.loads(beat.to_json())
    folder.heartbeat.write_text(json.dumps({**read, "more": 1, "process": {**read["process"], "colour": "red"}}))
    assert read_heartbeat(folder) == beat


@pytest.mark.parametrize("text", ["", "{", "[]", "17", '{"process": 1}', '{"process": {"host": "a"}}'])
def test_a_torn_beat_is_none(folder: RunFolder, text: str) -> None:
    folder.heartbeat.write_text(text)
    assert read_heartbeat(folder) is None


def test_no_beat_is_unknown(folder: RunFolder) -> None:
    assert look(folder, sleep=never).life is Life.UNKNOWN


def never(_: float) -> None:
    raise AssertionError("nothing has to be waited for")


@pytest.mark.parametrize("clock", [0.0, -86400.0, 86400.0])
def test_a_living_process_of_this_machine_is_running_whatever_the_clock_says(folder: RunFolder, clock: float) -> None:
    write_heartbeat(folder, beat_of(HERE, clock=clock, up=-1000.0))
    assert look(folder, sleep=never).life is Life.RUNNING


@pytest.mark.parametrize("clock", [0.0, -86400.0, 86400.0])
def test_a_dead_one_is_lost_however_fresh_its_beat(folder: RunFolder, clock: float) -> None:
    write_heartbeat(folder, beat_of(replace(HERE, began=HERE.began + 1), clock=clock))
    assert look(folder, sleep=never).life is Life.LOST


@pytest.mark.parametrize(
    ("ago", "life"), [(QUIET_SECONDS - 1, Life.RUNNING), (QUIET_SECONDS + 1, Life.LOST)], ids=["fresh", "old"]
)
@pytest.mark.parametrize("clock", [0.0, -86400.0, 86400.0])
def test_in_a_container_of_this_machine_its_uptime_decides(
    folder: RunFolder, ago: float, life: Life, clock: float
) -> None:
    write_heartbeat(folder, beat_of(CONTAINER, clock=clock, up=-ago))
    sign = look(folder, sleep=never)
    assert sign.life is life
    assert sign.seconds_ago == pytest.approx(ago, abs=1)


def test_from_elsewhere_a_plausible_time_is_taken(folder: RunFolder) -> None:
    write_heartbeat(folder, beat_of(ELSEWHERE, clock=-PLAUSIBLE_SECONDS / 2))
    sign = look(folder, sleep=never)
    assert sign.life is Life.RUNNING
    assert sign.seconds_ago == pytest.approx(PLAUSIBLE_SECONDS / 2, abs=2)


@pytest.mark.parametrize("clock", [-86400.0, 86400.0])
def test_from_elsewhere_an_implausible_time_is_checked_by_watching(folder: RunFolder, clock: float) -> None:
    """Its clock may be wrong, or ours: only another beat tells."""
    beat, waits = beat_of(ELSEWHERE, clock=clock), list[float]()
    write_heartbeat(folder, beat)
    assert look(folder, sleep=waits.append).life is Life.LOST
    assert waits == [WATCH_SECONDS]

    def beats_on(_: float) -> None:
        write_heartbeat(folder, replace(beat, count=beat.count + 1))

    assert look(folder, sleep=beats_on).life is Life.RUNNING


def test_a_driver_started_again_meanwhile_is_another_sign_of_life(folder: RunFolder) -> None:
    """Its count may be the same by chance."""
    beat = beat_of(ELSEWHERE, clock=-86400)
    again = replace(beat, process=replace(ELSEWHERE, pid=18))
    assert sign_of(again, earlier=beat) is not None
    assert sign_of(again, earlier=beat).life is Life.RUNNING  # type: ignore[union-attr]


@pytest.mark.parametrize("ending", list(Ending))
@pytest.mark.parametrize("process", [HERE, ELSEWHERE], ids=["here", "elsewhere"])
def test_an_end_that_was_told_is_believed(folder: RunFolder, ending: Ending, process: Process) -> None:
    write_heartbeat(folder, beat_of(process, clock=-1e6, ending=ending))
    assert look(folder, sleep=never).life == ending.value


def test_the_next_beat_counts_on() -> None:
    beat = beat_of(HERE, clock=-100, up=-100)
    later = next_beat(beat, left_seconds=3.0)
    assert (later.count, later.left_seconds, later.began) == (6, 3.0, beat.began)
    assert later.uptime > beat.uptime + 99
    assert later.time > beat.time
