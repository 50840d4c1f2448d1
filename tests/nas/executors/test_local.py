"""Worker processes, real ones: tasks are done, deaths are told with their task, and nobody outlives the driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nas.executors.local
from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.executors.local import LocalWorkers
from nas.executors.pool import Broke, Died, Event, Finished, Paused, Refused, Reported, Told, TookTooLong
from nas.files import write_atomically
from nas.records import State
from nas.run_folder.paths import RunFolder, read_evaluation
from nas.study import Study
from nas.study.file import dump_study, load_study
from nas.tasks import Rung, Task, Verdict
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


STUB = """
import json, os, subprocess, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
answers = os.fdopen(int(sys.argv[sys.argv.index("--answers") + 1]), "w", buffering=1)
def say(**answer): answers.write(json.dumps(answer) + "\\n")
{more}
say(ready=1)
for line in sys.stdin:
    task = json.loads(line)
    {body}
"""


def stub(folder: RunFolder, body: str, more: str = "", **options: Any) -> LocalWorkers:
    """One process that talks as a worker does, without what makes a worker slow to start."""
    script = STUB.format(body=body, more=more)
    return LocalWorkers(folder.path, 1, 1, command=(sys.executable, "-P", "-c", script), **options)


def make_task(folder: RunFolder, number: int, *, epochs: int = 1, pick: Callable[..., object] = first) -> Task:
    drawn = candidate(pick)
    return Task(number, drawn, "search", number, epochs, folder.artifact(drawn.id, "search", number))


def next_event(pool: LocalWorkers) -> Event:
    """The next event; reports are answered meanwhile."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if events := others(pool):
            assert len(events) == 1
            return events[0]
    pytest.fail("nothing happened")


def others(pool: LocalWorkers, seconds: float = 0.2) -> list[Event]:
    """What happened besides progress, and reports, which are answered."""
    events = pool.wait(seconds)
    for event in events:
        if isinstance(event, Reported):
            pool.answer(event.task, Verdict.CONTINUE)
    return [event for event in events if not isinstance(event, Reported | Told)]


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


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
    assert next_event(pool) == Finished(short, short.folder)
    evaluation = read_evaluation(short.folder)
    assert evaluation is not None
    assert (evaluation.state, evaluation.reason) == (State.COMPLETE, "")
    assert {file.name for file in short.folder.iterdir()} == {
        "candidate.json", "evaluation.json", "model.onnx", "weights.safetensors",
    }  # fmt: skip

    pool.submit(long)
    wait_until(lambda: bool(others(pool)) or long.folder.exists())
    (worker,) = pool.pids
    os.kill(worker, signal.SIGKILL)
    event = next_event(pool)
    assert isinstance(event, Died)
    assert event.task == long
    assert event.started
    assert event.reason.startswith("worker killed by signal 9")
    assert not (long.folder / "evaluation.json").exists()

    assert (pool.idle, len(pool.pids)) == (1, 1)
    assert pool.pids != [worker]
    pool.submit(other)
    assert next_event(pool) == Finished(other, other.folder)


def test_nothing_is_missed_while_the_driver_is_busy(folder: RunFolder) -> None:
    """All of the worker's lines have come before the driver looks."""
    task = make_task(folder, 0)
    with stub(folder, "say(done=0); (folder / 'said').touch()") as pool:
        pool.submit(task)
        wait_until((folder.path / "said").exists)
        assert next_event(pool) == Finished(task, task.folder)


def test_worker_that_cannot_start_is_told_apart(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch is not what it was')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
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
    assert next_event(pool) == Finished(task, task.folder)
    evaluation = read_evaluation(task.folder)
    assert evaluation is not None
    assert (evaluation.state, evaluation.error) == (State.FAILED, "IsADirectoryError")
    assert "model.onnx" in evaluation.reason
    assert evaluation.measurement is None


def test_a_worker_over_the_limit_is_killed_and_replaced(folder: RunFolder) -> None:
    """Even one that is stopped and so answers nothing at all; its start does not count."""
    hanging, other = make_task(folder, 0), make_task(folder, 1)
    body = "(folder / 'begun').touch(); time.sleep(60 * (1 - task['number'])); say(done=0)"
    with stub(folder, body, "time.sleep(1.5)", limit_minutes=lambda _: 1 / 60) as pool:
        pool.submit(hanging)
        wait_until(lambda: bool(others(pool, 0.1)) or (folder.path / "begun").exists())
        (worker,) = pool.pids
        os.kill(worker, signal.SIGSTOP)
        assert next_event(pool) == TookTooLong(hanging)
        assert not alive(worker)
        assert (pool.idle, len(pool.pids)) == (1, 1)
        pool.submit(other)
        assert next_event(pool) == Finished(other, other.folder)


def test_what_is_for_all_candidates_does_not_count(folder: RunFolder) -> None:
    hanging = make_task(folder, 0)
    waits = True
    body = "(folder / 'begun').touch(); time.sleep(60)"
    with stub(folder, body, limit_minutes=lambda _: 0.5 / 60, excused=lambda: waits) as pool:
        pool.submit(hanging)
        wait_until(lambda: bool(others(pool, 0.1)) or (folder.path / "begun").exists())
        later = time.monotonic() + 1.5
        while time.monotonic() < later:
            assert others(pool, 0.1) == []
        waits = False
        assert next_event(pool) == TookTooLong(hanging)


def test_one_that_waits_to_measure_is_not_ended_for_another_that_hangs(folder: RunFolder) -> None:
    waiting, hanging = make_task(folder, 0), make_task(folder, 1)
    body = "say(progress={'part': 'train' if task['number'] else 'measure'}); time.sleep(60)"
    workers = stub(folder, body, limit_minutes=lambda _: 1 / 60)
    workers.count = 2
    with workers as pool:
        pool.submit(waiting)
        pool.submit(hanging)
        assert next_event(pool) == TookTooLong(hanging)
        assert next_event(pool) == TookTooLong(waiting)


@pytest.mark.parametrize("elsewhere", [True, False])
def test_waiting_for_a_device_does_not_count(folder: RunFolder, elsewhere: bool) -> None:
    """What it does afterwards does; here measuring itself is part of a trial's work."""
    hanging = make_task(folder, 0)
    body = "(folder / 'begun').touch(); say(progress={'part': 'measure'}); time.sleep(1.5); "
    body += "(folder / 'measured').touch(); say(progress={'part': 'score'}); time.sleep(60)"
    with stub(folder, body, limit_minutes=lambda _: 0.7 / 60, waits_for_devices=elsewhere) as pool:
        pool.submit(hanging)
        assert next_event(pool) == TookTooLong(hanging)
        assert (folder.path / "measured").exists() == elsewhere


def test_a_worker_that_is_never_ready_has_not_started(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.executors.local, "START_SECONDS", 0.5)
    task = make_task(folder, 0)
    with LocalWorkers(folder.path, 1, 1, limit_minutes=lambda _: 0.1 / 60) as pool:
        pool.submit(task)
        assert next_event(pool) == Died(task, "worker not ready after 0 s", started=False)


def limited(path: Path, gigabytes: float) -> RunFolder:
    """A study whose largest network needs gigabytes for one batch of training, and little for one image."""
    fields = STUDY.model_dump() | {"search": {"trial_gigabytes": gigabytes}}
    fields["space"] = STUDY.space.model_dump() | {"input_size": 48}
    fields["training"] |= {"batch_size": 1400}
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
            assert next_event(pool) == Finished(task, task.folder)
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
        started = pool.pids
        pool.submit(make_task(folder, 0))
    assert len(started) == 2
    assert not any(map(alive, started))


DRIVER = """
import sys, time
from pathlib import Path
from nas.executors.local import LocalWorkers
from nas.tasks import Task
with LocalWorkers(Path(sys.argv[1]), 2, 1) as pool:
    print(*pool.pids, flush=True)
    pool.submit(Task.from_line(sys.argv[2]))
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("busy", [False, True])
def test_workers_die_with_their_driver(folder: RunFolder, busy: bool) -> None:
    """While they start as well as in the middle of a task."""
    task = make_task(folder, 0, epochs=100_000)
    command = [sys.executable, "-P", "-c", DRIVER, str(folder.path), task.to_line()]
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


def test_the_limit_counts_from_each_submission(folder: RunFolder) -> None:
    """Not from the worker's start, nor from its last task's."""
    tasks = [make_task(folder, number) for number in range(4)]
    body = "time.sleep(60 if task['number'] == 3 else 1.0); say(done=0)"
    with stub(folder, body, limit_minutes=lambda _: 2.5 / 60) as pool:
        for task in tasks[:3]:
            pool.submit(task)
            assert next_event(pool) == Finished(task, task.folder)
        pool.submit(tasks[3])
        assert next_event(pool) == TookTooLong(tasks[3])


def test_a_worker_that_broke_leaves_its_task_unfinished(folder: RunFolder) -> None:
    task = make_task(folder, 0)
    with stub(folder, "say(broke='No space left on device')") as pool:
        pool.submit(task)
        assert next_event(pool) == Broke(task, "No space left on device")
        assert (pool.idle, pool.running) == (1, [])


def test_a_worker_whose_memory_is_used_up_is_replaced_and_nobody_is_blamed(folder: RunFolder) -> None:
    tasks = [make_task(folder, number) for number in range(2)]
    with stub(folder, "say(done=0, spent=not task['number'])") as pool:
        before = pool.pids
        pool.submit(tasks[0])
        assert next_event(pool) == Finished(tasks[0], tasks[0].folder)
        between = pool.pids
        assert (pool.idle, between != before, any(map(alive, before))) == (1, True, False)
        pool.submit(tasks[1])
        assert next_event(pool) == Finished(tasks[1], tasks[1].folder)
        assert pool.pids == between  # not spent


def test_a_line_that_comes_in_pieces(folder: RunFolder) -> None:
    task = make_task(folder, 0)
    body = 'answers.write(\'{"rung": {"epo\'); answers.flush(); time.sleep(0.5); say_rest()'
    rest = 'def say_rest(): answers.write(\'chs": 0.5, "budget": 4}}\\n{"paused": 0}\\n\')'
    with stub(folder, body, rest) as pool:
        pool.submit(task)
        events: list[Event] = []
        wait_until(lambda: len(events) == 2 or events.extend(pool.wait(0.1)))
        assert events == [Reported(task, Rung(0.5, 4)), Paused(task)]
        assert pool.idle == 1


def test_an_answer_to_a_worker_that_is_gone(folder: RunFolder) -> None:
    task = make_task(folder, 0)
    with stub(folder, "say(rung={'epochs': 1, 'budget': 2}); os.kill(os.getpid(), 9)") as pool:
        pool.submit(task)
        wait_until(lambda: pool.wait(0.1) == [Reported(task, Rung(1, 2))])
        time.sleep(0.5)
        pool.answer(task, Verdict.CONTINUE)
        assert isinstance(next_event(pool), Died)
        pool.answer(task, Verdict.CONTINUE)  # nobody's any more


LIBRARY = """
import os, threading, time
os.write(1, b'{"done": 0}')
def chat():
    while True:
        print('{"done": 0}', flush=True)
        time.sleep(0.1)
threading.Thread(target=chat, daemon=True).start()
"""


def test_what_a_library_prints_is_no_answer(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first moment on, and while a task runs."""
    (tmp_path / "sitecustomize.py").write_text(LIBRARY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    task = make_task(folder, 0)
    with LocalWorkers(folder.path, 1, 1) as pool:
        pool.submit(task)
        assert next_event(pool) == Finished(task, task.folder)
    evaluation = read_evaluation(task.folder)
    assert evaluation is not None
    assert (evaluation.state, evaluation.reason) == (State.COMPLETE, "")


def test_the_users_folder_shadows_nothing(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does an empty entry of PYTHONPATH, which stands for the current folder."""
    users = tmp_path / "users"
    (users / "nas").mkdir(parents=True)
    for name in ("random", "onnx", "nas/__init__", "compressors", "torch"):
        (users / f"{name}.py").write_text("from pathlib import Path\nPath('was run').touch()\nraise SystemExit(3)\n")
    monkeypatch.chdir(users)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", os.environ.get("PYTHONPATH", "")]))
    task = make_task(folder, 0)
    with LocalWorkers(folder.path, 1, 1) as pool:
        pool.submit(task)
        assert next_event(pool) == Finished(task, task.folder)
    assert not (users / "was run").exists()


def test_children_of_a_worker_are_as_safe(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    body = "say(done=0) if subprocess.call([sys.executable, '-c', 'import random']) == 0 else sys.exit('shadowed')"
    with stub(folder, body) as pool:
        pool.submit(make_task(folder, 0))
        assert isinstance(next_event(pool), Finished)
