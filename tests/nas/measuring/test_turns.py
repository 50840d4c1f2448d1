"""The machine-wide lock between real processes: one measures at a time, in any environment."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import nas.measuring.turns
from nas.measuring.turns import PLACES, exclusive, open_locks, pausing_for_measurements

PATIENCE = 60.0  # seconds until a test gives a process up; none takes that long


@pytest.fixture(autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of the test's own, so that nobody else's work waits."""
    place = tmp_path_factory.mktemp("place")
    place.chmod(0o1777)
    monkeypatch.setattr(nas.measuring.turns, "PLACES", (str(place),))
    return place


TRAIN = """
import sys, time
from pathlib import Path
import nas.measuring.turns
nas.measuring.turns.PLACES = sys.argv[2:]
from nas.measuring.turns import pausing_for_measurements
counter, batches = Path(sys.argv[1]), 0
with pausing_for_measurements() as give_way:
    while True:
        give_way()
        time.sleep(0.02)  # a batch
        batches += 1
        counter.write_text(str(batches))
"""
HOLD = """
import sys, time
from pathlib import Path
import nas.measuring.turns
nas.measuring.turns.PLACES = sys.argv[2:]
from nas.measuring.turns import exclusive
with exclusive():
    Path(sys.argv[1]).write_text("1")
    time.sleep(600)
"""


@contextmanager
def process(script: str, counter: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes a number to `counter` again and again; killed at the end."""
    command = [sys.executable, "-P", "-c", script, str(counter), *nas.measuring.turns.PLACES]
    started = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        wait_until(lambda: count(counter) > 0)
        yield started
    finally:
        kill(started)


def kill(started: subprocess.Popen[bytes]) -> None:
    started.send_signal(signal.SIGKILL)
    started.wait(PATIENCE)


def count(counter: Path) -> int:
    text = counter.read_text() if counter.exists() else ""
    return int(text or 0)


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "gave up waiting"
        time.sleep(0.005)


def in_background(work: Callable[[], None]) -> threading.Event:
    """Run `work` in a thread; the event is set once it has returned."""
    done = threading.Event()

    def run() -> None:
        work()
        done.set()

    threading.Thread(target=run, daemon=True).start()
    return done


def take_and_release() -> None:
    with exclusive():
        pass


def start_and_end() -> None:
    with pausing_for_measurements():
        pass


def test_training_pauses_while_someone_measures(tmp_path: Path) -> None:
    counter = tmp_path / "batches"
    with process(TRAIN, counter):
        for _ in range(3):
            with exclusive():  # from here on not even the batch that was running is still under way
                held = count(counter)
                time.sleep(0.1)
                assert count(counter) == held
            wait_until(lambda held=held: count(counter) > held + 2)  # type: ignore[misc]


def test_one_measurement_at_a_time_and_none_outlives_its_process(tmp_path: Path) -> None:
    with process(HOLD, tmp_path / "held") as holder:
        done = in_background(take_and_release)
        assert not done.wait(0.2)
        kill(holder)
        assert done.wait(PATIENCE)


def test_a_killed_trainer_blocks_no_measurement(tmp_path: Path) -> None:
    with process(TRAIN, tmp_path / "batches") as trainer:
        kill(trainer)
        assert in_background(take_and_release).wait(PATIENCE)


def test_two_train_at_the_same_time_and_both_give_way(tmp_path: Path) -> None:
    counters = tmp_path / "one", tmp_path / "two"
    with process(TRAIN, counters[0]), process(TRAIN, counters[1]):
        seen = [count(counter) for counter in counters]
        wait_until(lambda: all(count(c) > s + 2 for c, s in zip(counters, seen, strict=True)))
        with exclusive():
            held = [count(counter) for counter in counters]
            time.sleep(0.1)
            assert [count(counter) for counter in counters] == held


def test_training_begins_only_after_the_measurement(tmp_path: Path) -> None:
    with exclusive():
        started = in_background(start_and_end)
        assert not started.wait(0.2)
    assert started.wait(PATIENCE)


def test_newcomers_queue_behind_a_measurement_that_waits() -> None:
    """Otherwise trainers that hold the machine in turn would never let it measure."""
    with pausing_for_measurements():
        measured = in_background(take_and_release)
        assert not measured.wait(0.2)
        started = in_background(start_and_end)
        assert not started.wait(0.2)
    assert measured.wait(PATIENCE)
    assert started.wait(PATIENCE)


def test_locks_are_released_when_the_measured_code_raises() -> None:
    with pytest.raises(ZeroDivisionError), exclusive():
        _ = 1 / 0
    assert in_background(take_and_release).wait(PATIENCE)
    with pytest.raises(ZeroDivisionError), pausing_for_measurements():
        _ = 1 / 0
    assert in_background(take_and_release).wait(PATIENCE)


def test_no_descriptor_is_left_open() -> None:
    open_files = Path("/proc/self/fd")
    if not open_files.exists():
        pytest.skip("needs /proc")
    before = len(list(open_files.iterdir()))
    for _ in range(5):
        take_and_release()
        with pausing_for_measurements() as give_way:
            give_way()
    assert len(list(open_files.iterdir())) <= before


def test_lock_files_are_open_to_every_user(place: Path) -> None:
    mask = os.umask(0o077)
    try:
        take_and_release()
    finally:
        os.umask(mask)
    modes = {path.name: path.stat().st_mode & 0o777 for path in place.iterdir()}
    assert modes == {"compact-nas-gate.lock": 0o666, "compact-nas-busy.lock": 0o666}


@pytest.mark.parametrize("name", ["TMPDIR", "HOME", "XDG_RUNTIME_DIR", "COMPACT_NAS_CACHE"])
def test_processes_share_the_locks_in_any_environment(tmp_path: Path, name: str) -> None:
    (tmp_path / "own").mkdir()
    with process(HOLD, tmp_path / "held", **{name: str(tmp_path / "own")}) as holder:
        done = in_background(take_and_release)
        assert not done.wait(0.2)
        kill(holder)
        assert done.wait(PATIENCE)
    assert not any((tmp_path / "own").iterdir())


def test_places_are_the_machines_own() -> None:
    """Fixed paths, none of them made of the environment; one of them serves on this machine."""
    assert all(place.startswith(("/run/", "/var/", "/dev/", "/tmp")) for place in PLACES)
    assert "os.environ" not in Path(nas.measuring.turns.__file__).read_text()


def test_the_first_place_that_is_open_to_all_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write where others may not, and must not stay alone there."""
    places = [tmp_path / name for name in ("missing", "private", "not sticky", "open", "later")]
    for path, mode in zip(places[1:], (0o755, 0o777, 0o1777, 0o1777), strict=True):
        path.mkdir()
        path.chmod(mode)
    (tmp_path / "file").touch(0o1777)
    monkeypatch.setattr(nas.measuring.turns, "PLACES", (str(tmp_path / "file"), *map(str, places)))
    take_and_release()
    assert [path.name for path in places[1:] if any(path.iterdir())] == ["open"]


def test_without_a_place_the_temporary_folder_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.measuring.turns, "PLACES", ())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    take_and_release()
    assert {path.name for path in tmp_path.iterdir()} == {
        f"compact-nas-{os.getuid()}-{name}.lock" for name in ("gate", "busy")
    }


@pytest.mark.parametrize("name", ["gate", "busy"])
def test_a_file_that_cannot_be_opened_leads_to_the_next_place(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A shared folder may hold anybody's link; what it points to must not be opened, nor its mode changed."""
    victim = tmp_path / "victim"
    victim.touch(mode=0o600)
    (place / f"compact-nas-{name}.lock").symlink_to(victim)
    following = tmp_path / "next"
    following.mkdir()
    following.chmod(0o1777)
    monkeypatch.setattr(nas.measuring.turns, "PLACES", (str(place), str(following)))
    before = open_descriptors()
    take_and_release()
    assert victim.stat().st_mode & 0o777 == 0o600
    assert len(list(following.iterdir())) == 2
    assert open_descriptors() <= before


def open_descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_users_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also at files that their owner alone may write to."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:  # pytest's own folders are closed to other users
        Path(place).chmod(0o1777)
        monkeypatch.setattr(nas.measuring.turns, "PLACES", (place,))
        take_and_release()
        for file in Path(place).iterdir():
            file.chmod(0o644)
            os.chown(file, 12345, 12345)
        with exclusive():
            command = [sys.executable, "-P", "-c", ATTEMPT, place]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.stdout.strip() == "held", done.stderr


ATTEMPT = """
import fcntl, os, sys
import nas.measuring.turns
nas.measuring.turns.PLACES = sys.argv[1:]
os.setgid(54321)
os.setuid(54321)
gate, busy = nas.measuring.turns.open_locks()
try:
    busy.take(fcntl.LOCK_SH | fcntl.LOCK_NB)
    print("free")
except BlockingIOError:
    print("held")
"""


def test_a_removed_lock_file_is_replaced_for_all(place: Path) -> None:
    """Cleaners of temporary folders remove old files: a training uses the new one from its next batch on."""
    with pausing_for_measurements() as give_way:
        for file in list(place.iterdir()):
            file.unlink()
        with exclusive():
            done = in_background(give_way)
            assert not done.wait(0.2)
        assert done.wait(PATIENCE)
        gate, busy = open_locks()
        with pytest.raises(BlockingIOError):
            busy.take(fcntl.LOCK_EX | fcntl.LOCK_NB)
        busy.close()
        gate.close()


def test_work_that_gives_way_may_measure_itself() -> None:
    with pausing_for_measurements() as give_way:
        _, busy = open_locks()
        with give_way.to_itself():
            busy.take(fcntl.LOCK_EX | fcntl.LOCK_NB)
            busy.release()
        with pytest.raises(BlockingIOError):
            busy.take(fcntl.LOCK_EX | fcntl.LOCK_NB)
