"""What every executor is held to: each row of ENGINES, and a toy that only this file knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from by_hand import different, evaluated, make_study, read
from rich.console import Console

import nas.commands.run
from nas.candidates.candidate import Candidate
from nas.executors.engine import OnThisMachine
from nas.executors.loop import take
from nas.executors.pool import Event, Executor, ExecutorSetup, Finished, Paused, Reported, Told
from nas.files import write_atomically
from nas.records import State, score
from nas.registry import ENGINES
from nas.run_folder.artifacts import pack
from nas.run_folder.paths import RunFolder, read_evaluation, write_evaluation
from nas.study import Study
from nas.study.file import dump_study
from nas.tasks import Progress, Rung, Task, Verdict

PATIENCE = 120.0


@dataclass
class Toy:
    """An executor without a shared disk: evaluates by hand in a folder of its own, and hands out bytes."""

    setup: ExecutorSetup
    place: Path
    running: list[Task] = field(default_factory=list)
    _verdict: Verdict = Verdict.CONTINUE

    @property
    def idle(self) -> int:
        return self.setup.workers - len(self.running)

    def submit(self, task: Task) -> None:
        self.running.append(task)

    def answer(self, task: Task, verdict: Verdict) -> None:
        assert task == self.running[0]
        self._verdict = verdict

    def wait(self, timeout: float) -> list[Event]:
        """An epoch of the oldest task."""
        if not self.running:
            return []
        task, verdict = self.running[0], self._verdict
        self._verdict = Verdict.CONTINUE
        own = replace(task, folder=self.place / task.folder.relative_to(self.setup.folder.path))
        own.folder.mkdir(parents=True, exist_ok=True)
        checkpoint = own.folder / "epochs"
        done = int(checkpoint.read_text()) if checkpoint.exists() else 0
        if verdict is Verdict.CONTINUE and done < task.epochs:
            checkpoint.write_text(str(done + 1))
            told = Progress("train", "dense", done + 1, task.epochs, 1.0, 100.0)
            return [Told(task, told), Reported(task, Rung(done + 1, task.epochs))]
        self.running.remove(task)
        if verdict is Verdict.PAUSE:
            return [Paused(task)]
        state, reason = (State.PRUNED, "stopped") if verdict is Verdict.STOP else (None, "")
        test = {"test": score(50, 100)} if task.phase == "final" else {}
        write_evaluation(own.folder, evaluated(task, self.setup.study, state, reason=reason, **test, epochs=done))
        (own.folder / "model.onnx").write_bytes(b"a model")
        return [Finished(task, pack(own.folder))]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def open_toy(setup: ExecutorSetup) -> Iterator[Toy]:
        place = tmp_path / "elsewhere"
        place.mkdir(exist_ok=True)
        yield Toy(setup, place)

    monkeypatch.setitem(ENGINES, "toy", OnThisMachine(open_toy))


def setup_in(path: Path, workers: int) -> ExecutorSetup:
    study = make_study(training={"epochs": 3}, trials=2)
    study = Study.model_validate(study.model_dump() | {"data": {"source": "digits", "train_images": 100}})
    folder = RunFolder(path)
    write_atomically(folder.study, dump_study(study))
    return ExecutorSetup(study, folder, workers=workers, threads=1)


@dataclass
class Opened:
    executor: Executor
    setup: ExecutorSetup
    heard: list[Event] = field(default_factory=list)

    def task(self, candidate: Candidate, number: int, epochs: int = 3) -> Task:
        return Task(
            number, candidate, "search", number, epochs, self.setup.folder.artifact(candidate.id, "search", number)
        )

    def until(self, kind: type[Event], verdict: Callable[[Rung], Verdict] = lambda _: Verdict.CONTINUE) -> Event:
        """The next event of a kind; reports are answered meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for event in self.executor.wait(0.2):
                self.heard.append(event)
                if isinstance(event, Reported):
                    self.executor.answer(event.task, verdict(event.rung))
                if isinstance(event, kind):
                    return event
        pytest.fail(f"no {kind.__name__}, but {self.heard}")


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    return different(1)[0]


OF_RAY = [pytest.param("ray", marks=pytest.mark.xdist_group("ray"))]
engines = pytest.mark.parametrize("engine", ["toy", *(name for name in ENGINES if name != "ray"), *OF_RAY])


@contextmanager
def opened(engine: str, path: Path, workers: int = 1) -> Iterator[Opened]:
    setup = setup_in(path, workers)
    with ENGINES[engine].connect(setup.study, setup.folder) as connection, connection.open(setup) as executor:
        yield Opened(executor, setup)


@engines
def test_an_executor_keeps_its_promises(
    engine: str, toy: None, tmp_path: Path, candidate: Candidate, request: pytest.FixtureRequest
) -> None:
    """One executor for all of them: a worker takes seconds to start."""
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    with opened(engine, tmp_path / "run") as found:
        a_task_ends_with_its_files(found, candidate)
        a_stopped_task_is_pruned(found, candidate)
        a_paused_task_gives_its_place_back_and_goes_on_later(found, candidate)


def a_task_ends_with_its_files(found: Opened, candidate: Candidate) -> None:
    executor, task = found.executor, found.task(candidate, 0)
    assert (executor.idle, list(executor.running)) == (1, [])
    executor.submit(task)
    assert (executor.idle, list(executor.running)) == (0, [task])
    finished = found.until(Finished)
    assert isinstance(finished, Finished)
    assert finished.task == task
    assert (executor.idle, list(executor.running)) == (1, [])
    evaluation = take(task, finished.artifact)
    assert (evaluation.state, evaluation.epochs, evaluation.candidate_id) == (State.COMPLETE, 3, candidate.id)
    assert read_evaluation(task.folder) == evaluation
    assert (task.folder / "model.onnx").stat().st_size > 0
    rungs = [event.rung for event in found.heard if isinstance(event, Reported)]
    assert all(event.task == task for event in found.heard)
    assert [rung.budget for rung in rungs] == [3] * len(rungs)
    epochs = [rung.epochs for rung in rungs]
    assert epochs == sorted(set(epochs))
    assert epochs[0] <= 1
    assert epochs[-1] <= 3
    assert len(epochs) >= 2
    told = [event.progress for event in found.heard if isinstance(event, Told)]
    assert "train" in {progress.part for progress in told}
    within = [progress for progress in told if progress.budget]
    assert all(progress.budget == 3 and 0 < progress.epochs <= 3 for progress in within)
    assert all(progress.stage and progress.loss is not None and progress.images_per_second > 0 for progress in within)


def a_stopped_task_is_pruned(found: Opened, candidate: Candidate) -> None:
    task = found.task(candidate, 1)
    found.executor.submit(task)
    finished = found.until(Finished, lambda rung: Verdict.STOP)
    assert isinstance(finished, Finished)
    evaluation = take(task, finished.artifact)
    assert evaluation.state is State.PRUNED
    assert 0 < evaluation.epochs <= 1
    assert evaluation.reason.startswith("stopped")
    assert evaluation.validation is None
    assert not (task.folder / "checkpoint.pt").exists()
    assert found.executor.idle == 1


def a_paused_task_gives_its_place_back_and_goes_on_later(found: Opened, candidate: Candidate) -> None:
    executor, task, other = found.executor, found.task(candidate, 2), found.task(candidate, 3, epochs=1)
    executor.submit(task)
    assert found.until(Paused, lambda rung: Verdict.PAUSE) == Paused(task)
    assert (executor.idle, list(executor.running)) == (1, [])
    assert not (task.folder / "evaluation.json").exists()
    executor.submit(other)
    finished = found.until(Finished)
    assert isinstance(finished, Finished)
    assert finished.task == other
    found.heard.clear()
    executor.submit(task)
    finished = found.until(Finished)
    assert isinstance(finished, Finished)
    assert take(task, finished.artifact).epochs == 3
    reports = [event.rung.epochs for event in found.heard if isinstance(event, Reported)]
    assert reports[0] > 1  # not from the beginning
    assert not (task.folder / "checkpoint.pt").exists()


def test_an_engine_of_ones_own_drives_a_whole_search(toy: None, folder: RunFolder) -> None:
    """A row of a table is all it takes: no file of the package changes."""
    study = make_study(trials=6, finalists=2, workers=2, engine="toy")
    assert nas.commands.run.run(study, folder.path, Console(quiet=True))
    trials, finalists, front = (read(folder, name) for name in ("trials", "finalists", "front"))
    assert sum(row["state"] == "COMPLETE" for row in trials) == 6
    assert len(finalists) == 2
    assert front
    for row in (*trials, *finalists):
        if row["state"] == "COMPLETE":
            assert (folder.path / row["artifact"] / "model.onnx").read_bytes() == b"a model"
    assert nas.commands.run.run(study, folder.path, Console(quiet=True))
    assert read(folder, "trials") == trials
