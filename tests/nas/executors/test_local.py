"""Worker processes, real ones: tasks are done, deaths are told with their task, and nobody outlives the driver."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nas.executors.local
from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.executors.local import LocalWorkers, _Worker, cores, threads_per_worker
from nas.executors.pool import Broke, Died, Event, Finished, Refused, TookTooLong
from nas.files import write_atomically
from nas.records import State
from nas.run_folder.paths import RunFolder, read_evaluation
from nas.study import Study
from nas.study.file import dump_study, load_study
from nas.tasks import Task
from search_spaces.trials import Pick, first, last

PATIENCE = 90.0

STUDY = Study.model_validate(
    {
        "name": "t",
        "data": {"source": "digits", "train_images": 100},
        "space": {"preset": "8px"},
        "compression": {"weight_format": ("int8", "fp32")},
        "training": {"epochs": 1},
    }
)


def run_folder(path: Path) -> RunFolder:
    run = RunFolder(path)
    write_atomically(run.study, dump_study(STUDY))
    return run


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return run_folder(tmp_path)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkers]:
    """A worker takes seconds to start: tests share one, and leave it idle."""
    with LocalWorkers(run_folder(tmp_path_factory.mktemp("pool")).path, 1, 1) as workers:
        yield workers


def candidate(pick: Callable[..., object] = first) -> Candidate:
    return sample(Pick(pick), STUDY.space, STUDY.compression, input_channels=1)


def make_task(folder: RunFolder, number: int, *, epochs: int = 1, pick: Callable[..., object] = first) -> Task:
    drawn = candidate(pick)
    return Task(number, drawn, "search", number, epochs, folder.artifact(drawn.id, "search", number))


def next_event(pool: LocalWorkers) -> Event:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if events := pool.wait(0.2):
            assert len(events) == 1
            return events[0]
    pytest.fail("nothing happened")


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def processes(pool: LocalWorkers) -> list[int]:
    return [worker.process.pid for worker in pool._workers]


def alive(pid: int) -> bool:
    """A zombie that nobody has waited for yet is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_task_is_finished_and_a_killed_worker_is_replaced(folder: RunFolder, pool: LocalWorkers) -> None:
    short, long, other = (make_task(folder, i, epochs=epochs) for i, epochs in enumerate((1, 100_000, 1)))
    assert (pool.idle, pool.running) == (1, [])
    pool.submit(short)
    assert (pool.idle, pool.running) == (0, [short])
    assert next_event(pool) == Finished(short)
    evaluation = read_evaluation(short.folder)
    assert evaluation is not None
    assert (evaluation.state, evaluation.reason) == (State.COMPLETE, "")
    assert {file.name for file in short.folder.iterdir()} == {
        "candidate.json", "evaluation.json", "model.onnx", "weights.safetensors",
    }  # fmt: skip

    pool.submit(long)
    wait_until(long.folder.exists)
    (worker,) = processes(pool)
    os.kill(worker, signal.SIGKILL)
    event = next_event(pool)
    assert isinstance(event, Died)
    assert event.task == long
    assert event.started
    assert event.reason.startswith("worker killed by signal 9")
    assert not (long.folder / "evaluation.json").exists()

    assert (pool.idle, len(processes(pool))) == (1, 1)
    assert processes(pool) != [worker]
    pool.submit(other)
    assert next_event(pool) == Finished(other)


def test_nothing_is_missed_while_the_driver_is_busy(folder: RunFolder) -> None:
    """Both of the worker's lines, ready and done, have come before the driver looks."""
    task = make_task(folder, 0)
    with LocalWorkers(folder.path, 1, 1) as pool:
        pool.submit(task)
        wait_until((task.folder / "evaluation.json").exists)
        time.sleep(1.0)
        assert next_event(pool) == Finished(task)


def test_worker_that_cannot_start_is_told_apart(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch is not what it was')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with LocalWorkers(folder.path, 1, 1) as pool:
        task = make_task(folder, 0)
        pool.submit(task)
        event = next_event(pool)
        assert isinstance(event, Died)
        assert (event.task, event.started) == (task, False)
        assert event.reason == "worker exited with code 1: ImportError: libtorch is not what it was"
        assert pool.idle == 1


def test_worker_that_refuses_the_study(folder: RunFolder) -> None:
    folder.study.write_text("name: t\n")
    with LocalWorkers(folder.path, 1, 1) as pool:
        event = next_event(pool)
    assert isinstance(event, Refused)
    assert "space: expected a mapping, got nothing" in event.reason


def test_failing_candidate_is_a_result(folder: RunFolder, pool: LocalWorkers) -> None:
    """Where the artifact folder cannot take the model, the worker says so and lives on."""
    task = make_task(folder, 0, pick=last)
    (task.folder / "model.onnx" / "x").mkdir(parents=True)
    pool.submit(task)
    assert next_event(pool) == Finished(task)
    evaluation = read_evaluation(task.folder)
    assert evaluation is not None
    assert (evaluation.state, evaluation.error) == (State.FAILED, "IsADirectoryError")
    assert "model.onnx" in evaluation.reason
    assert evaluation.measurement is None


def test_a_worker_over_the_limit_is_killed_and_replaced(folder: RunFolder) -> None:
    """Even one that is stopped and so answers nothing at all; its start does not count."""
    hanging, other = make_task(folder, 0, epochs=100_000), make_task(folder, 1)
    with LocalWorkers(folder.path, 1, 1, limit_minutes=lambda _: 4 / 60) as pool:
        pool.submit(hanging)
        wait_until(lambda: bool(pool.wait(0.1)) or hanging.folder.exists())
        (worker,) = processes(pool)
        os.kill(worker, signal.SIGSTOP)
        assert next_event(pool) == TookTooLong(hanging)
        assert not alive(worker)
        assert (pool.idle, len(processes(pool))) == (1, 1)
        pool.submit(other)
        assert next_event(pool) == Finished(other)


def test_what_is_for_all_candidates_does_not_count(folder: RunFolder) -> None:
    hanging = make_task(folder, 0, epochs=100_000)
    waits = True
    with LocalWorkers(folder.path, 1, 1, limit_minutes=lambda _: 0.5 / 60, excused=lambda: waits) as pool:
        pool.submit(hanging)
        wait_until(lambda: bool(pool.wait(0.1)) or hanging.folder.exists())
        later = time.monotonic() + 1.5
        while time.monotonic() < later:
            assert pool.wait(0.1) == []
        waits = False
        assert next_event(pool) == TookTooLong(hanging)


def test_a_worker_that_is_never_ready_has_not_started(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.executors.local, "START_SECONDS", 0.5)
    task = make_task(folder, 0)
    with LocalWorkers(folder.path, 1, 1, limit_minutes=lambda _: 0.1 / 60) as pool:
        pool.submit(task)
        assert next_event(pool) == Died(task, "worker not ready after 0 s", started=False)


def limited(path: Path, gigabytes: float) -> RunFolder:
    """A study whose largest network needs gigabytes for one batch."""
    fields = STUDY.model_dump() | {"search": {"trial_gigabytes": gigabytes}}
    fields["space"] = STUDY.space.model_dump() | {"input_size": 160}
    fields["training"] |= {"batch_size": 100}
    run = RunFolder(path)
    write_atomically(run.study, dump_study(Study.model_validate(fields)))
    return run


def test_a_candidate_beyond_the_memory_limit_is_a_result(tmp_path: Path) -> None:
    folder = limited(tmp_path, 1.5)
    study = load_study(folder.study)
    drawn = sample(Pick(last), study.space, study.compression, input_channels=1)
    big = Task(0, drawn, "search", 0, 1, folder.artifact(drawn.id, "search", 0))
    with LocalWorkers(folder.path, 1, 1) as pool:
        for number in range(2):  # the worker lives on
            task = replace(big, number=number, seed=number, folder=folder.artifact(drawn.id, "search", number))
            pool.submit(task)
            assert next_event(pool) == Finished(task)
            evaluation = read_evaluation(task.folder)
            assert evaluation is not None
            assert evaluation.state is State.FAILED
            assert evaluation.reason == "needed more memory than search.trial_gigabytes 1.5"


def test_a_limit_below_what_a_worker_needs_anyway(folder: RunFolder) -> None:
    fields = STUDY.model_dump() | {"search": {"trial_gigabytes": 0.1}}
    write_atomically(folder.study, dump_study(Study.model_validate(fields)))
    with LocalWorkers(folder.path, 1, 1) as pool:
        pool.submit(make_task(folder, 0))
        event = next_event(pool)
    assert isinstance(event, Refused)
    assert event.reason.startswith("search.trial_gigabytes: expected at least")


def test_leaving_ends_all_workers(folder: RunFolder) -> None:
    with LocalWorkers(folder.path, 2, 1) as pool:
        started = processes(pool)
        pool.submit(make_task(folder, 0))
    assert len(started) == 2
    assert not any(map(alive, started))


DRIVER = """
import sys, time
from pathlib import Path
from nas.executors.local import LocalWorkers
from nas.tasks import Task
with LocalWorkers(Path(sys.argv[1]), 2, 1) as pool:
    print(*(worker.process.pid for worker in pool._workers), flush=True)
    pool.submit(Task.from_line(sys.argv[2]))
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("busy", [False, True])
def test_workers_die_with_their_driver(folder: RunFolder, busy: bool) -> None:
    """While they start as well as in the middle of a task."""
    task = make_task(folder, 0, epochs=100_000)
    command = [sys.executable, "-c", DRIVER, str(folder.path), task.to_line()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        workers = [int(pid) for pid in driver.stdout.readline().split()]
        assert len(workers) == 2
        if busy:
            wait_until(task.folder.exists)
        assert all(map(alive, workers))
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        wait_until(lambda: not any(map(alive, workers)), seconds=10)


@pytest.mark.parametrize(("workers", "input_size"), [(1, 8), (2, 8), (1, 32), (2, 32), (64, 224)])
def test_threads_per_worker(workers: int, input_size: int) -> None:
    threads = threads_per_worker(workers, input_size)
    assert threads >= 1
    assert threads == 1 if input_size < 32 else threads * workers <= max(cores(), workers)


class Still:
    """Stands in for a process that takes tasks and does nothing."""

    def __init__(self) -> None:
        self.stdin = io.StringIO()

    def kill(self) -> None:
        pass

    def wait(self) -> int:
        return 0


def test_the_limit_counts_from_each_submission(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from the worker's start, nor from its last task's."""
    now = [1000.0]
    monkeypatch.setattr(nas.executors.local, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(LocalWorkers, "_replace", lambda *_: None)
    pool = LocalWorkers(folder.path, 1, 1, limit_minutes=lambda _: 1.0)
    process: Any = Still()
    pool._workers.append(_Worker(process, io.StringIO(), started=True, since=0.0))
    task = make_task(folder, 0)
    pool.submit(task)
    now[0] += 59
    assert pool._late() == []
    now[0] += 2
    assert pool._late() == [TookTooLong(task)]


def test_a_worker_that_broke_leaves_its_task_unfinished(folder: RunFolder) -> None:
    process: Any = Still()
    task = make_task(folder, 0)
    worker = _Worker(process, io.StringIO(), task=task, started=True)
    assert LocalWorkers._heard(worker, {"broke": "No space left on device"}) == Broke(task, "No space left on device")
    assert worker.task is None


@pytest.mark.parametrize(("workers", "input_size", "expected"), [(1, 31, 1), (1, 32, 8), (3, 32, 2), (16, 224, 1)])
def test_eight_cores_are_shared(workers: int, input_size: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.executors.local, "cores", lambda: 8)
    assert threads_per_worker(workers, input_size) == expected
