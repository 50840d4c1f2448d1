"""`nas run` with workers that evaluate by hand: its files, and what it asks of its workers."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import by_hand
import pytest
from by_hand import Run, Workers, different, evaluated, make_study, measured, read
from rich.console import Console

import nas.commands.run
import nas.data.of_study
import nas.executors.loop
import nas.measuring.calibration
import nas.measuring.latency_design
from nas.commands.setup import setup_of
from nas.data import DataSet, Images, load
from nas.errors import InputError
from nas.executors.engine import OnThisMachine
from nas.executors.pool import ExecutorSetup, Finished
from nas.records import Evaluation, State
from nas.registry import ENGINES
from nas.run_folder.paths import LOGITS, RunFolder, write_evaluation
from nas.search.search import Search
from nas.study import Study
from nas.tasks import Task


def test_a_run_writes_its_tables(folder: RunFolder, run: Run) -> None:
    assert run()
    trials, finalists, front = (read(folder, name) for name in ("trials", "finalists", "front"))
    assert sum(row["state"] == "COMPLETE" for row in trials) == 6
    assert len(finalists) == 2
    assert {row["id"] for row in front} <= {row["id"] for row in finalists}
    assert all(row["test_accuracy"] == "0.5" and row["artifact"].endswith("/final-1") for row in front)
    assert run()
    assert [read(folder, name) for name in ("trials", "finalists", "front")] == [trials, finalists, front]


def test_a_run_trains_its_baseline_beside_the_finalists(folder: RunFolder, run: Run) -> None:
    assert run()
    rows = read(folder, "references")
    assert [row["reference"] for row in rows] == ["baseline fp32", "baseline int8"]
    assert [row["state"] for row in rows] == ["COMPLETE", "COMPLETE"]
    assert len({row["id"] for row in rows}) == 2
    assert all(row["epochs"] == "8" and row["artifact"].endswith("/reference-1") for row in rows)
    assert not {row["id"] for row in rows} & {row["id"] for row in [*read(folder, "trials"), *read(folder, "front")]}
    assert run()
    assert read(folder, "references") == rows


def test_a_baseline_that_fails_costs_the_run_nothing(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = by_hand.evaluated

    def failing(task: Task, study: Study, **fields: Any) -> Evaluation:
        failed = {"state": State.FAILED, "reason": "out of memory"} if task.phase == "reference" else {}
        return original(task, study, **(fields | failed))

    monkeypatch.setattr(by_hand, "evaluated", failing)
    assert run()
    rows = read(folder, "references")
    assert [(row["reference"], row["state"], row["reason"]) for row in rows] == [
        ("baseline fp32", "FAILED", "out of memory")
    ]
    assert len(read(folder, "finalists")) == 2


def test_a_search_without_finalists_has_its_baseline_too(folder: RunFolder, run: Run) -> None:
    assert run(finalists=0, epochs=2)
    assert {row["epochs"] for row in read(folder, "references")} == {"2"}
    assert not folder.finalists.exists()


def test_ctrl_c_in_a_longer_search_keeps_the_front_of_the_finalists(folder: RunFolder, run: Run) -> None:
    assert run()
    front = read(folder, "front")
    assert not run({1: 1}, trials=9)
    assert read(folder, "front") == front


def test_test_images_that_cannot_be_read_are_told_before_finalists_are_trained(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable() -> Images:
        raise InputError("data.path: 1 unreadable image file(s)")

    def broken(*given: Any, **options: Any) -> DataSet:
        return replace(load(*given, **options), load_test=unreadable)

    with monkeypatch.context() as patched:
        patched.setattr(nas.data.of_study, "load", broken)
        with pytest.raises(InputError, match="1 unreadable image"):
            run()
    assert not (folder.path / "finalists.csv").exists()
    assert run()
    assert len(read(folder, "finalists")) == 2
    monkeypatch.setattr(nas.data.of_study, "load", broken)
    assert run()  # nothing is left to be tested


def test_a_run_goes_on_behind_a_torn_record(folder: RunFolder, run: Run) -> None:
    assert run()
    before = read(folder, "trials")
    with folder.journal.open("ab") as file:
        file.write(b'{"op_code": 4, "worker_id": "7')
    assert run(trials=8)
    assert read(folder, "trials")[: len(before)] == before
    assert Search(make_study(trials=8), folder).count(State.COMPLETE) == 8


def test_workers_are_given_the_limits_of_the_study(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[ExecutorSetup] = []

    def workers(setup: ExecutorSetup) -> Workers:
        given.append(setup)
        return Workers(setup.folder.path, setup.workers, setup.threads)

    monkeypatch.setitem(ENGINES, "local", OnThisMachine(workers))
    training = {"distillation": {"teacher": "reference"}}
    study = make_study(trials=1, finalists=1, epochs=2, trial_minutes=0.5, training=training)
    assert nas.commands.run.run(study, folder.path, Console(quiet=True))
    (setup,) = given
    limit, excused = setup.limit_minutes, setup.excused
    assert (setup.study.name, setup.folder, setup.workers, setup.threads) == (study.name, folder, 1, 1)
    task = Task(0, different(1)[0], "search", 0, 2, folder.path)
    assert [limit(replace(task, epochs=epochs)) for epochs in (2, 8)] == [0.5, 2.0]
    assert limit(replace(task, epochs=8, phase="final")) == 2.0
    few = make_study(epochs=2, trial_minutes=0.5, train_images=100, input_size=4)
    limit = setup_of(few, folder, workers=1).limit_minutes
    many = len(load(few.data, input_size=8, seed=0).train)
    assert limit(replace(task, epochs=2)) == 0.5
    final = replace(task, epochs=8, phase="final")
    assert limit(final) == pytest.approx(2.0 * many / 100 * 4)
    assert limit(replace(final, recipe={"train_images": 300})) == pytest.approx(2.0 * 3 * 4)  # its own, not the study's
    assert limit(replace(final, recipe={"train_images": 50})) == pytest.approx(2.0 * 2)
    assert excused()
    folder.teacher().mkdir()
    (folder.teacher() / LOGITS).touch()
    assert not excused()


def test_only_a_run_that_begins_is_announced(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "local", OnThisMachine(lambda setup: Workers(setup.folder.path, 1, 1)))
    said = []
    for trials in (2, 3):
        console = Console(width=200)
        with console.capture() as shown:
            assert nas.commands.run.run(make_study(trials=trials, finalists=1), folder.path, console)
        said.append(shown.get())
    assert ["on a usual machine" in text for text in said] == [True, False]
    assert "finalists and baseline" in said[0]


def test_a_run_in_which_everything_fails_has_failed(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(self: Workers, _: float) -> list[Any]:
        task = self.running.pop(0)
        write_evaluation(task.folder, evaluated(task, make_study(), State.FAILED, reason="no [/luck]"))
        return [Finished(task, task.folder)]

    monkeypatch.setattr(Workers, "wait", wait)
    with pytest.raises(nas.executors.loop.WorkFailed, match=r"the last 10 candidates all failed, .* no \[/luck\]"):
        run()


def test_latency_is_calibrated_before_the_search_and_once(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The search is the same when it is continued, and another one without the calibration."""
    made = make_study(sampler="pareto", trials=4, finalists=0, calibration=5.0)
    study = made.model_copy(update={"objectives": ("accuracy", "latency_ms")})
    monkeypatch.setattr(nas.measuring.latency_design, "DRAWN", 30)
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(
        ENGINES, "local", OnThisMachine(lambda setup: Workers(setup.folder.path, setup.workers, setup.threads, {}))
    )
    script = "import sys\nprint(sys.argv[1])"
    lines = [{"number": i, "latency_ms": {"cpu": measured(c).cost("latency_ms", "cpu")}} for i, c in enumerate(
        nas.measuring.latency_design.design(study, 10, 10)
    )]  # fmt: skip
    told = "\n".join(map(json.dumps, lines))
    monkeypatch.setattr(nas.measuring.calibration, "BENCHMARK", (sys.executable, "-c", script, told))
    given: list[int] = []
    original = Search.__init__

    def listening(self: Search, *args: Any, calibrated: Any, **options: Any) -> None:
        given.append(len(calibrated["latency_ms"]))
        original(self, *args, calibrated=calibrated, **options)

    monkeypatch.setattr(Search, "__init__", listening)
    assert nas.commands.run.run(study, folder.path, Console(quiet=True))
    kept = folder.calibration.read_bytes()
    monkeypatch.setattr(nas.measuring.calibration, "BENCHMARK", ("false",))
    assert nas.commands.run.run(study, folder.path, Console(quiet=True))
    assert folder.calibration.read_bytes() == kept
    assert given == [10, 10]


def test_a_run_whose_epochs_are_spent_has_come_to_its_end(folder: RunFolder, run: Run) -> None:
    assert run(trials=50, epoch_budget=33.0, finalists=0)
    assert sum(row["state"] == "COMPLETE" for row in read(folder, "trials")) == 4, "of eight epochs each"
    assert run(trials=50, epoch_budget=48.0, finalists=0)
    assert sum(row["state"] == "COMPLETE" for row in read(folder, "trials")) == 6


def test_a_budget_for_no_epoch_is_said(run: Run) -> None:
    said = r"no further piece of a training fits into search\.epoch_budget 0\.5"
    with pytest.raises(nas.executors.loop.WorkFailed, match=said):
        run(trials=50, epoch_budget=0.5)
