"""What an evaluation is held to."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from by_hand import different, measured
from pydantic import ValidationError
from torch import nn
from toy_runtime import Toy

import nas.evaluate
import nas.measuring.latency
import nas.measuring.places
import nas.measuring.turns
import nas.recording
import nas.training.stage_run
from nas.candidates.sampling import sample, sample_of
from nas.data import load
from nas.errors import InputError, TrainingDiverged
from nas.evaluate import broken_constraints, evaluate, evaluate_safely, failure, pipeline_of
from nas.files import sha256_of
from nas.measuring.parity import ParityBroken
from nas.objectives import may_stand
from nas.recording import Clock
from nas.records import SIMULATED, Evaluation, Parity, State
from nas.registry import RUNTIMES
from nas.run_folder.paths import read_evaluation
from nas.study import Study
from nas.tasks import CHECKPOINT_FILE, Rung, Task, Verdict
from nas.training.reporting import Interrupted
from nas.workbench import Workbench
from search_spaces.trials import Pick


@pytest.mark.parametrize("bound", [True, False])
def test_a_constraint_binds_the_tasks_that_are_constrained(bound: bool) -> None:
    """150 bytes of 100 allowed are half too many, 300 parameters of 300 allowed none."""
    study = Study.model_validate(
        {
            "name": "t",
            "data": {"source": "digits"},
            "space": {"family": "mobile", "preset": "8px"},
            "constraints": {"size_bytes": {"max": 100.0}, "parameters": {"max": 300.0}},
        }
    )
    task = Task(0, different(1)[0], "reference", 0, 1, Path(), is_constrained=bound)
    found = broken_constraints({"parameters": 300, "size_bytes": 150}, study, task)
    assert found == ({"size_bytes": pytest.approx(0.5)} if bound else {})


SPACE = {
    "family": "mixed", "input_size": (8, 16), "stem_widths": (8,), "head_widths": (8,),
    "stages": ({"depths": (1,), "widths": (8,), "stride": 1},),
    "blocks": {"inverted_residual": {"kernels": (3,), "expansions": (2,)}},
}  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    """As a worker has it, at the largest size; locks of its own, so that nobody else's work waits."""
    monkeypatch.setattr(nas.measuring.turns, "PLACES", ())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(nas.measuring.latency, "BLOCKS", 1)
    monkeypatch.setattr(nas.measuring.latency, "MAX_PASSES", 1)
    monkeypatch.setattr(nas.measuring.latency, "PAUSE_SECONDS", 0.0)
    study = make_study()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Workbench(study, load(study.data, input_size=16, seed=0))
    torch.set_num_threads(threads)


def make_study(**fields: Any) -> Study:
    return Study.model_validate(
        {
            "name": "t",
            "data": {"source": "digits", "train_images": 100},
            "space": SPACE,
            "compression": {"weight_format": ("int8",)},
            "training": {"epochs": 1, "batch_size": 50},
            **fields,
        }
    )


def task_of(bench: Workbench, folder: Path, size: int = 8) -> Task:
    candidate = sample_of(Pick(lambda choices: size if size in choices else choices[0]), bench.study)
    return Task(0, candidate, "search", 3, 1, folder / "artifact")


@pytest.mark.parametrize("size", [8, 16])
def test_who_breaks_a_constraint_is_measured_in_its_own_size_and_not_trained(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    bench.study = make_study(constraints={"parameters": {"max": 10.0}})
    monkeypatch.setattr(nas.evaluate, "pipeline_of", lambda *_: pytest.fail("trained"))
    task = task_of(bench, tmp_path, size)
    assert task.candidate.architecture.input_size == size
    evaluation = evaluate(task, bench)
    assert evaluation.state is State.INFEASIBLE
    assert evaluation.measurement is not None
    assert evaluation.measurement.macs == task.candidate.macs(10)
    assert [file.name for file in task.folder.iterdir()] == ["evaluation.json"]


def masks(*choices: dict[str, Any]) -> dict[str, Any]:
    return {"compression": {"weight_format": ("int8",), "mask": choices}}


def test_a_budget_of_zeros_comes_down_to_layers_and_is_counted_in_the_file(bench: Workbench, tmp_path: Path) -> None:
    bench.study = make_study(**masks({"ratio": 0.5, "scope": "global"}))
    task = task_of(bench, tmp_path)
    found = evaluate(task, bench)
    assert (found.state, found.measurement.origin) == (State.COMPLETE, "shipped file")  # type: ignore[union-attr]
    layers = task.candidate.layers(10)
    zeros = {name: told["zeros"] for name, told in found.resulted["steps"]["masked"].items()}  # type: ignore[index, call-overload]
    assert sum(zeros.values()) == round(0.5 * sum(layer.weight_count for layer in layers))
    assert found.measurement is not None
    assert found.measurement.nonzero_parameters is not None
    assert found.measurement.nonzero_parameters <= sum(layer.parameters for layer in layers) - sum(zeros.values())
    for layer, report in zip(layers, found.layers, strict=True):
        assert report.sparsity is not None
        assert report.sparsity >= zeros.get(layer.name, 0) / layer.weight_count


@pytest.mark.parametrize(("share", "state"), [(0.5, State.INFEASIBLE), (1.0, State.COMPLETE)])
def test_zeros_that_training_decides_of_are_judged_when_they_are_counted(
    bench: Workbench, tmp_path: Path, share: float, state: State
) -> None:
    choice = {"ratio": 0.1, "scope": "global"}
    limit = round(share * task_of(bench, tmp_path).candidate.parameters(10))
    bench.study = make_study(**masks(choice), constraints={"nonzero_parameters": {"max": limit}})
    found = evaluate(task_of(bench, tmp_path), bench)
    assert (found.state, found.epochs) == (state, 1)


def test_what_no_way_to_share_out_zeros_can_keep_is_infeasible_untrained(bench: Workbench, tmp_path: Path) -> None:
    bench.study = make_study(**masks({"ratio": 0.1, "scope": "global"}), constraints={"size_bytes": {"max": 100}})
    found = evaluate(task_of(bench, tmp_path), bench)
    assert (found.state, found.epochs) == (State.INFEASIBLE, 0)
    assert found.measurement is not None
    assert found.measurement.origin == "bound"


@pytest.mark.parametrize("stable", [True, False])
def test_a_disturbed_latency_is_flagged_and_told_of_no_other_network(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stable: bool
) -> None:
    found = list[float]()

    def timed(file: Path, target: Any) -> Any:
        found.append(9.0)
        latency = measure(file, target)
        return latency.model_copy(update={"stable": stable, "latency_ms": found[-1]})

    measure = nas.measuring.places.measure
    monkeypatch.setattr(nas.measuring.places, "measure", timed)
    bench = replace(bench, study=make_study(constraints={"latency_ms": {"max": 1.0}}))
    candidate = sample(Pick(min), bench.study.space, bench.study.compression, input_channels=1)
    for seed in range(2):
        evaluation = evaluate(Task(0, candidate, "search", seed, 1, tmp_path / str(seed)), bench)
        assert (evaluation.state, evaluation.flags) == (State.INFEASIBLE, () if stable else ("unstable",))
    assert len(found) == (1 if stable else 2)


def test_training_checking_and_scoring_give_way(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, entered, ways = Clock(), list[str](), list[str]()

    @contextmanager
    def yielding() -> Iterator[Callable[[], None]]:
        entered.append(clock.part)
        yield lambda: ways.append(clock.part)

    monkeypatch.setattr(nas.evaluate, "pausing_for_measurements", yielding)
    task = task_of(bench, tmp_path)
    evaluation = evaluate(task, bench, clock)
    assert evaluation.state is State.COMPLETE
    assert evaluation.model_sha256 == {
        "model.onnx": hashlib.sha256((task.folder / "model.onnx").read_bytes()).hexdigest()
    }
    assert evaluation.flags == ("unstable",)  # one pass agrees with none
    assert entered == ["train", "verify", "score"]
    assert Counter(ways) == {"train": 2, "score": 2}  # steps of one epoch; a batch of validation, one of training
    assert set(evaluation.seconds) == {"build", "prune", "emit", "measure", "teach", "train", "verify", "score"}
    assert evaluation.test is None


def test_a_shipped_file_over_its_limit_is_infeasible(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the untrained one kept to it: what ships counts. Its figures are recorded all the same."""
    task = task_of(bench, tmp_path)
    light = measured(task.candidate).model_copy(update={"size_bytes": 10})
    monkeypatch.setattr(nas.evaluate, "structure_costs", lambda *_: light)
    bench.study = make_study(constraints={"size_bytes": {"max": 1000.0}})
    evaluation = evaluate(task, bench)
    assert evaluation.state is State.INFEASIBLE
    assert evaluation.measurement is not None
    assert evaluation.measurement.origin == "shipped file"
    assert evaluation.measurement.size_bytes == (task.folder / "model.onnx").stat().st_size > 1000
    assert evaluation.violations == {"size_bytes": evaluation.measurement.size_bytes / 1000 - 1}
    assert evaluation.validation is not None


@pytest.mark.parametrize(("least", "state"), [(1.0, State.INFEASIBLE), (1e-9, State.COMPLETE)])
@pytest.mark.parametrize("phase", ["search", "final"])
def test_a_quality_below_its_limit_is_infeasible_once_trained(
    bench: Workbench, tmp_path: Path, phase: Any, least: float, state: State
) -> None:
    """With its file and its figures."""
    bench.study = make_study(constraints={"accuracy": {"min": least}, "parameters": {"max": 1e9}})
    evaluation = evaluate(replace(task_of(bench, tmp_path), phase=phase), bench)
    assert evaluation.validation is not None
    assert evaluation.state is state
    accuracy = evaluation.validation.accuracy
    assert evaluation.violations == ({"accuracy": 1 - accuracy} if state is State.INFEASIBLE else {})
    assert evaluation.reason == (f"accuracy {accuracy:.3g}, limit 1" if state is State.INFEASIBLE else "")
    assert (tmp_path / "artifact" / "model.onnx").exists()


@pytest.mark.parametrize("reads", [True, False])
def test_the_test_split_is_read_where_the_task_says_so(bench: Workbench, tmp_path: Path, reads: bool) -> None:
    """Whatever its phase is called."""
    evaluation = evaluate(replace(task_of(bench, tmp_path), reads_test=reads), bench)
    assert (evaluation.phase, evaluation.test is not None) == ("search", reads)


@pytest.mark.parametrize("state", [State.COMPLETE, State.FAILED])
def test_no_checkpoint_is_left_of_a_finished_evaluation(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    """A retry of it would go on with the weights of the one that failed."""
    task, honest = task_of(bench, tmp_path), nas.evaluate.ship
    checkpoint = task.folder / CHECKPOINT_FILE

    def leave_one(*arguments: Any, **named: Any) -> Any:
        checkpoint.write_bytes(b"of the last epoch")
        if state is State.FAILED:
            raise ZeroDivisionError
        return honest(*arguments, **named)

    monkeypatch.setattr(nas.evaluate, "ship", leave_one)
    assert evaluate_safely(task, bench).state is state
    assert (task.folder / "evaluation.json").exists()
    assert not checkpoint.exists()


def test_a_record_that_cannot_be_written_leaves_the_checkpoint(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training of a kill in between, or of a full disk, goes on from it."""
    task = task_of(bench, tmp_path)
    task.folder.mkdir(exist_ok=True)
    (task.folder / CHECKPOINT_FILE).write_bytes(b"of the last epoch")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(nas.recording, "write_evaluation", full)
    with pytest.raises(OSError, match="No space left"):
        nas.recording.finish(task, bench, Clock(), State.FAILED, error="Any", reason="any")
    assert (task.folder / CHECKPOINT_FILE).exists()


# Runtimes: a toy that nothing in the package knows.


def with_targets(bench: Workbench, monkeypatch: pytest.MonkeyPatch, toy: Toy, *targets: dict[str, Any]) -> Workbench:
    monkeypatch.setitem(RUNTIMES, "toy", toy)
    return replace(bench, study=make_study(targets=targets), of_size={})


def test_a_runtime_is_a_row_and_nothing_else(bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = with_targets(bench, monkeypatch, Toy(), {"name": "t", "runtime": "toy"})
    task = task_of(bench, tmp_path)
    evaluation = evaluate(task, bench)
    assert (evaluation.state, evaluation.flags) == (State.COMPLETE, ("unstable",))
    assert {file.name for file in task.folder.iterdir()} == {
        "network.toy", "weights.safetensors", "candidate.json", "evaluation.json",
    }  # fmt: skip
    assert evaluation.ran_integer == evaluation.asked_integer
    assert evaluation.parity is not None
    assert evaluation.parity.max_difference < 1e-5
    assert evaluation.measurement is not None
    assert evaluation.measurement.size_bytes == (task.folder / "network.toy").stat().st_size
    assert evaluation.measurement.latency["t"].latency_ms == 0.007
    assert evaluation.measurement.latency["t"].fingerprint.runtime == "toy 1.0"
    assert evaluation.machine.runtimes == {"toy": "1.0"}


@pytest.mark.parametrize(
    ("toy", "flags"),
    [
        pytest.param(Toy(), (), id="does the same"),
        pytest.param(Toy(lambda logits: logits + 1), ("parity@t",), id="does something else"),
        pytest.param(Toy(refuses=True), ("parity@t",), id="refuses"),
    ],
)
def test_another_runtime_has_its_own_file_parity_and_latency(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy: Toy, flags: tuple[str, ...]
) -> None:
    bench = with_targets(bench, monkeypatch, toy, {"name": "cpu"}, {"name": "t", "runtime": "toy"})
    task = task_of(bench, tmp_path)
    evaluation = evaluate(task, bench)
    assert (evaluation.state, evaluation.flags) == (State.COMPLETE, (*flags, "unstable"))
    assert evaluation.measurement is not None
    assert evaluation.measurement.size_bytes == (task.folder / "model.onnx").stat().st_size
    costs = evaluation.measurement.other_costs("cpu")
    assert costs.pop("size_bytes@t") == (task.folder / "network@t.toy").stat().st_size
    measured = {name: sha256_of(task.folder / name) for name in ("model.onnx", "network@t.toy")}
    assert evaluation.model_sha256 == measured
    assert costs == ({} if flags else {"latency_ms@t": 0.007})
    assert set(evaluation.other_parity) == (set() if toy.refuses else {"t"})
    assert set(evaluation.machine.runtimes) == {"onnxruntime", "toy"}


@pytest.mark.parametrize(("weights", "has_a_file"), [("int3", True), ("int8", False)])
def test_openvino_stands_beside_onnx_runtime(bench: Workbench, tmp_path: Path, weights: str, has_a_file: bool) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed here")
    targets = ({"name": "cpu"}, {"name": "ov", "runtime": "openvino"})
    study = make_study(targets=targets, compression={"weight_format": (weights,)}, training={"epochs": 3})
    bench = replace(bench, study=study, of_size={})
    task = task_of(bench, tmp_path)
    evaluation = evaluate(task, bench)
    assert evaluation.state is State.COMPLETE
    assert evaluation.measurement is not None
    assert (task.folder / "model@ov.onnx").exists() is has_a_file
    opened = task.folder / ("model@ov.onnx" if has_a_file else "model.onnx")
    assert evaluation.measurement.other_size_bytes == {"ov": opened.stat().st_size}
    holds = evaluation.other_parity["ov"].holds
    assert ("ov" in evaluation.measurement.latency) is holds is ("parity@ov" not in evaluation.flags)


def test_an_infeasible_candidate_is_measured_on_every_target(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RUNTIMES, "toy", Toy(refuses=True))
    targets = ({"name": "cpu"}, {"name": "t", "runtime": "toy"})
    bench = replace(bench, study=make_study(targets=targets, constraints={"parameters": {"max": 10.0}}), of_size={})
    task = task_of(bench, tmp_path)
    evaluation = evaluate(task, bench)
    assert evaluation.state is State.INFEASIBLE
    assert evaluation.measurement is not None
    assert set(evaluation.measurement.latency) == {"cpu"}
    assert evaluation.flags == ("parity@t", "unstable")
    assert [file.name for file in task.folder.iterdir()] == ["evaluation.json"]


def test_a_file_that_the_first_runtime_refuses_fails_in_its_words(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = with_targets(bench, monkeypatch, Toy(refuses=True), {"name": "t", "runtime": "toy"})
    evaluation = evaluate_safely(task_of(bench, tmp_path), bench)
    assert (evaluation.state, evaluation.error, evaluation.reason) == (State.FAILED, "RuntimeRefused", "no such toy")


def test_a_full_disk_is_no_candidates_fault(bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(nas.evaluate, "ship", full)
    task = task_of(bench, tmp_path)
    with pytest.raises(OSError, match="No space left"):
        evaluate_safely(task, bench)
    assert not (task.folder / "evaluation.json").exists()


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every epoch."""
    monkeypatch.setattr(nas.training.stage_run, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)


@pytest.mark.parametrize("state", [State.COMPLETE, State.FAILED, State.PRUNED])
def test_no_checkpoint_is_left_of_what_is_over(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eager: None, state: State
) -> None:
    """`nas retry` would go on from it."""
    task = replace(task_of(bench, tmp_path), epochs=2)
    checkpoint, there = task.folder / "checkpoint.pt", list[bool]()

    def report(rung: Rung) -> Verdict:
        there.append(checkpoint.exists())
        return Verdict.STOP if state is State.PRUNED and len(there) == 2 else Verdict.CONTINUE

    def broken(*_: object, **__: object) -> None:
        raise ValueError("no file today")

    if state is State.FAILED:
        monkeypatch.setattr(nas.evaluate, "score_network", broken)
    assert evaluate_safely(task, bench, report=report).state is state
    assert True in there
    assert not checkpoint.exists()
    assert (task.folder / "evaluation.json").exists()


def test_a_stopped_training_is_recorded_as_pruned(bench: Workbench, tmp_path: Path) -> None:
    rungs = list[Rung]()

    def report(rung: Rung) -> Verdict:
        rungs.append(rung)
        return Verdict.STOP if rung.epochs >= 2 else Verdict.CONTINUE

    task = replace(task_of(bench, tmp_path), epochs=8)
    evaluation = evaluate_safely(task, bench, report=report)
    assert (evaluation.state, evaluation.epochs) == (State.PRUNED, 2.0)
    assert evaluation.reason == "stopped after 2 of 8 epochs"
    assert rungs == [Rung(1.0, 8), Rung(2.0, 8)]
    assert evaluation.seconds["train"] > 0


def test_a_paused_training_goes_on_later(bench: Workbench, tmp_path: Path) -> None:
    """Nothing is recorded meanwhile; in the end it is as if it had never been paused."""
    whole = replace(task_of(bench, tmp_path / "whole"), epochs=4)
    paused, epochs = replace(whole, folder=tmp_path / "paused"), list[float]()

    def pause(rung: Rung) -> Verdict:
        epochs.append(rung.epochs)
        return Verdict.PAUSE if len(epochs) == 2 else Verdict.CONTINUE

    with pytest.raises(Interrupted):
        evaluate_safely(paused, bench, report=pause)
    assert {file.name for file in paused.folder.iterdir()} == {"checkpoint.pt", "attempts.json"}
    resumed, other = evaluate_safely(paused, bench, report=pause), evaluate_safely(whole, bench)
    assert epochs == sorted(set(epochs))
    assert (resumed.state, resumed.epochs) == (State.COMPLETE, other.epochs)
    assert (paused.folder / "model.onnx").read_bytes() == (whole.folder / "model.onnx").read_bytes()


@pytest.mark.parametrize("keep", ["all", "front"])
def test_a_rung_is_an_evaluation_of_its_own(bench: Workbench, tmp_path: Path, keep: str) -> None:
    """Beside the trial's folder; paused there and continued, the trial ends as if nobody had looked."""
    bench.study = make_study(artifacts={"keep": keep}, constraints={"parameters": {"max": 1e9}})
    whole = replace(task_of(bench, tmp_path / "whole"), epochs=4)
    task, told = replace(whole, folder=tmp_path / "artifact", rungs=(0.5,)), list[Rung]()

    def pause(rung: Rung) -> Verdict:
        told.append(rung)
        return Verdict.PAUSE if len(told) == 2 else Verdict.CONTINUE

    with pytest.raises(Interrupted):
        evaluate_safely(task, bench, report=pause)
    record = read_evaluation(tmp_path / "artifact-r0.5")
    assert record is not None
    assert (record.phase, record.state, record.epochs) == ("rung", State.COMPLETE, 2.0)
    assert record.validation is not None
    assert record.measurement is not None
    assert record.measurement.origin == "untrained file"
    assert record.seconds["rung"] > 0
    files = {file.name for file in (tmp_path / "artifact-r0.5").iterdir()}
    assert files == {"evaluation.json", *(["model.onnx"] if keep == "all" else [])}
    if keep == "all":
        assert record.model_sha256 == {"model.onnx": sha256_of(tmp_path / "artifact-r0.5" / "model.onnx")}
    at_rung = told[1]
    assert (at_rung.epochs, at_rung.share) == (2.0, 0.5)
    assert at_rung.scores is not None
    assert at_rung.scores["accuracy"] == record.validation.accuracy
    assert at_rung.scores["size_bytes"] == record.measurement.size_bytes
    assert at_rung.scores["coded_bytes"] == record.measurement.coded_bytes  # the copy's, whose weights are real
    assert 0 < at_rung.copy_epochs <= 0.1 * 4 + 1e-9 or at_rung.copy_epochs == 1 / 2  # of two steps an epoch, one
    resumed, other = evaluate_safely(task, bench, report=pause), evaluate_safely(whole, bench)
    assert [rung.epochs for rung in told] == [1, 2, 2, 3, 4]
    assert told[2] == at_rung, "what was recorded is not looked at again"
    assert (task.folder / "model.onnx").read_bytes() == (whole.folder / "model.onnx").read_bytes()
    assert resumed.seconds["train"] >= record.seconds["train"]
    assert (resumed.seconds["rung"], resumed.started_at) == (record.seconds["rung"], record.started_at)
    assert "rung" not in other.seconds


def test_at_a_rung_a_copy_is_measured_where_costs_depend_on_weights(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the process that trains, which must not wait for itself."""
    choice = {"ratio": 0.5, "scope": "global"}
    bench.study = make_study(**masks(choice))
    task = replace(task_of(bench, tmp_path), epochs=4, rungs=(0.5,))
    monkeypatch.setattr(nas.measuring.latency, "exclusive", at_once)
    found, record = evaluate(task, bench), read_evaluation(task.at_rung(0.5).folder)
    assert record is not None
    assert record.measurement is not None
    assert record.measurement.origin == "shipped file"
    assert set(record.measurement.latency) == {bench.study.target.name}
    assert record.model_sha256 == {"model.onnx": sha256_of(task.at_rung(0.5).folder / "model.onnx")}
    assert found.state is State.COMPLETE


@contextmanager
def at_once() -> Iterator[None]:
    """`exclusive` that raises BlockingIOError where it would wait."""
    _, busy = nas.measuring.turns.open_locks()
    busy.take(fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield
    busy.close()


def test_what_is_stopped_behind_a_rung_keeps_what_it_had_reached(bench: Workbench, tmp_path: Path) -> None:
    task = replace(task_of(bench, tmp_path), epochs=4, rungs=(0.5,))
    stopped = evaluate_safely(task, bench, report=lambda rung: Verdict.STOP if rung.epochs == 3 else Verdict.CONTINUE)
    record = read_evaluation(task.at_rung(0.5).folder)
    assert record is not None
    assert (stopped.state, stopped.epochs) == (State.PRUNED, 3.0)
    assert (stopped.validation, stopped.measurement) == (record.validation, record.measurement)


def test_a_part_within_another_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 1.0, 5.0, 5.5, 7.0, 7.0])
    monkeypatch.setattr(nas.recording.time, "perf_counter", lambda: next(moments))
    clock = Clock()
    with clock("train"):
        with clock("rung"):
            pass
        assert clock.so_far() == {"train": 1.5, "rung": 4.0}
    assert (clock.so_far(), clock.part) == ({"train": 3.0, "rung": 4.0}, "rung")


def test_a_task_is_trained_as_the_study_says(bench: Workbench, tmp_path: Path) -> None:
    compression = {"weight_format": ("int8",), "importance": "bn_scale", "learned_step_sizes": ("int8",)}
    training = {"class_weights": "balanced", "patience": 2, "precision": "bf16"}
    bench.study = make_study(compression=compression, training=training)
    own = pipeline_of(replace(task_of(bench, tmp_path), epochs=7), bench, None)
    assert (own.compression, own.epochs, own.feed.seed) == (bench.study.compression, 7, 3)
    assert own.class_weights is not None
    assert own.class_weights.tolist() == pytest.approx(bench.data.class_weights)
    assert own.validation is bench.watched
    assert own.choose_precision(nn.Identity()) == "bf16"
    bench.study = make_study()
    assert pipeline_of(task_of(bench, tmp_path), bench, None).validation is None


DIVERGING: dict[str, dict[str, Any]] = {
    **{name: {"optimizer": name} for name in ("sgd", "adamw", "adam", "rmsprop")},
    "bf16": {"precision": "bf16"},
    "average": {"ema": 0.9},
    "l1": {"l1": 1e36},
    "early stopping": {"patience": 1},
    "a number beyond float32": {"optimizer": "rmsprop", "learning_rate": 1e300},
    "its own teacher": {"epochs": 3, "distillation": {"teacher": "self"}},
}


@pytest.mark.parametrize("keys", DIVERGING.values(), ids=DIVERGING)
@pytest.mark.parametrize("weights", ["fp32", "int8"])
def test_a_divergence_is_called_so(bench: Workbench, tmp_path: Path, keys: dict[str, Any], weights: str) -> None:
    """One step per epoch: what overflows in the last one shows in no loss."""
    training = {"epochs": 2, "batch_size": 2048, "learning_rate": 1e36, **keys}
    bench.study = make_study(training=training, compression={"weight_format": (weights,)})
    task = replace(task_of(bench, tmp_path), epochs=training["epochs"])
    evaluation = evaluate_safely(task, bench)
    assert (evaluation.state, evaluation.error) == (State.FAILED, "TrainingDiverged")
    assert re.match(r"training diverged: (NaN or infinity in|loss is|a number is too large for) ", evaluation.reason)
    assert re.search(r"(epoch \d of|before|after) the (dense|quantized) stage$", evaluation.reason)


def not_a_parity() -> ValidationError:
    with pytest.raises(ValidationError) as raised:
        Parity.model_validate({"images": 1, "max_difference": "x", "tolerance": None})
    return raised.value


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TrainingDiverged("loss is nan in epoch 1"), "training diverged: loss is nan in epoch 1"),
        (ParityBroken("parity broken: by half"), "parity broken: by half"),
        (InputError("data: expected\nanother folder"), "data: expected another folder"),
        (MemoryError(), "out of memory"),
        (KeyError("stage9"), "internal error: 'stage9'"),
        (AssertionError(), "internal error: no message"),
        (ValueError("first line\n  second"), "internal error: first line second"),
    ],
)
def test_reasons_are_sentences_for_users(error: Exception, reason: str) -> None:
    assert failure(error, None) == reason


def test_a_limit_of_memory_is_named() -> None:
    assert failure(MemoryError(), 1.5) == "needed more memory than search.trial_gigabytes 1.5"


def test_a_record_that_cannot_be_made_shows_no_validation_library() -> None:
    reason = failure(not_a_parity(), None)
    assert reason.startswith("internal error: unexpected values of max_difference, tolerance, ")
    assert not re.search("pydantic|Parity|validation", reason)


def test_a_task_has_the_images_it_asks_for(bench: Workbench, tmp_path: Path) -> None:
    """In number and size; the parts of the split that judge it are the same, and costs are shared."""
    task = replace(task_of(bench, tmp_path, 16), recipe={"train_images": 60, "batch_size": 20}, train_size=8)
    own = bench.for_task(task)
    assert (len(own.data.train), own.input_size) == (60, 16)
    assert (own.data.validation.images == bench.data.validation.images).all()
    assert own.structure_costs is bench.structure_costs
    assert bench.for_task(replace(task, recipe={})) is bench
    assert own.for_task(replace(task, recipe={"train_images": 100})) is bench
    pipeline = pipeline_of(task, own, None)
    assert pipeline.small is not None
    assert [tuple(feed.images.shape[2:]) for feed in (pipeline.feed, pipeline.small)] == [(16, 16), (8, 8)]
    assert pipeline.feed.labels.tolist() == pipeline.small.labels.tolist()
    assert pipeline.feed.steps == pipeline.small.steps == 3
    for as_large in (16, 24, None):
        assert pipeline_of(replace(task, train_size=as_large), own, None).small is None


def test_what_a_study_trains_on_is_read_at_once(bench: Workbench) -> None:
    study = make_study(search={"train_images": 50, "input_size": 10}, finals={"train_images": 80})
    replace(bench, study=study, of_size=(known := {})).read_all()
    assert set(known) == {(16, 100), (8, 50), (16, 50), (8, 80), (16, 80), (10, 50)}


def test_a_finalist_is_recorded_with_its_recipe(bench: Workbench, tmp_path: Path) -> None:
    task = replace(task_of(bench, tmp_path), phase="final", epochs=2, recipe={"epochs": 2, "train_images": 50})
    evaluation = evaluate(task, bench)
    assert (evaluation.epochs, evaluation.budget, evaluation.recipe) == (2, 2, {"epochs": 2, "train_images": 50})
    assert Evaluation.model_validate_json(evaluation.model_dump_json()) == evaluation


# Quantization after training, and what no file computes.


@pytest.mark.parametrize("way", ["static", "dynamic"])
def test_a_network_is_quantized_after_its_training(bench: Workbench, tmp_path: Path, way: str) -> None:
    """All epochs are of the dense stage; the file computes what the network does."""
    options = {"calibration": "entropy", "bias_correction": True, "equalization": True}
    bench.study = make_study(training={"epochs": 2, "batch_size": 50, "quantization": way, **options})
    task = replace(task_of(bench, tmp_path), epochs=2)
    found = evaluate(task, bench)
    assert pipeline_of(task, bench, None).stages[-1].name == "dense"
    assert (found.state, found.epochs, found.accuracy_source) == (State.COMPLETE, 2.0, "trained")
    assert found.parity is not None
    assert found.parity.holds
    assert found.ran_integer == found.asked_integer
    assert ("stem.conv" in found.ran_integer) == (way == "static")
    assert "classifier" in found.ran_integer


def test_a_paused_training_is_quantized_in_the_end_as_if_it_had_not_been(bench: Workbench, tmp_path: Path) -> None:
    bench.study = make_study(training={"epochs": 3, "batch_size": 50, "quantization": "static", "calibration": "mse"})
    whole = replace(task_of(bench, tmp_path / "whole"), epochs=3)
    paused = replace(whole, folder=tmp_path / "paused")

    def pause(rung: Rung) -> Verdict:
        return Verdict.PAUSE if rung.epochs == 2 else Verdict.CONTINUE

    with pytest.raises(Interrupted):
        evaluate_safely(paused, bench, report=pause)
    evaluate_safely(paused, bench)
    evaluate_safely(whole, bench)
    assert (paused.folder / "model.onnx").read_bytes() == (whole.folder / "model.onnx").read_bytes()


def test_four_bit_activations_are_simulated(bench: Workbench, tmp_path: Path) -> None:
    """Scored in torch, measured by a file of 8 bits that agrees with its own network, and on no front."""
    bench.study = make_study(compression={"weight_format": ("int8",), "activation_bits": 4})
    found = evaluate(task_of(bench, tmp_path), bench)
    assert (found.state, found.accuracy_source, SIMULATED in found.flags) == (State.COMPLETE, "simulated", True)
    assert found.parity is not None
    assert found.parity.holds
    assert found.measurement is not None
    assert not may_stand(found.state, found.flags)
    assert read_evaluation(tmp_path / "artifact") == found


def test_words_are_recorded_as_they_were_drawn(bench: Workbench, tmp_path: Path) -> None:
    bench.study = make_study(
        training={
            "epochs": 1, "optimizer": {"choices": ("sgd", "adamw")}, "batch_size": {"choices": (20, 50)},
            "distillation": {"temperature": {"choices": (1.0, 4.0)}},
        }
    )  # fmt: skip
    numbers: dict[str, float | str] = {"optimizer": "adamw", "batch_size": 20, "distillation.temperature": 4.0}
    task = replace(task_of(bench, tmp_path), training=numbers)
    evaluate(task, bench)
    found = read_evaluation(tmp_path / "artifact")
    assert found is not None
    assert found.training == numbers
    assert type(found.training["batch_size"]) is int
    assert Task.from_line(task.to_line()) == task


@pytest.mark.parametrize(
    "needs", [{"objectives": ("accuracy", "latency_ms@t")}, {"constraints": {"latency_ms@t": {"max": 9.0}}}]
)
@pytest.mark.parametrize(
    ("toy", "is_trained", "said"),
    [
        pytest.param(Toy(refuses=True), False, " (no such toy)", id="known before training"),
        pytest.param(Toy(lambda logits: logits + 1), True, "", id="known of the trained file"),
    ],
)
def test_a_target_that_counts_and_does_not_run_the_file(
    bench: Workbench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    needs: dict[str, Any],
    toy: Toy,
    is_trained: bool,
    said: str,
) -> None:
    monkeypatch.setitem(RUNTIMES, "toy", toy)
    study = make_study(targets=({"name": "cpu"}, {"name": "t", "runtime": "toy"}), **needs)
    bench = replace(bench, study=study, of_size={})
    evaluation = evaluate(task_of(bench, tmp_path), bench)
    assert (evaluation.state, bool(evaluation.epochs)) == (State.INFEASIBLE, is_trained)
    assert evaluation.violations == {"latency_ms@t": 1.0}
    assert evaluation.reason == (
        f"latency_ms@t was not measured, for target t does not run the file as it should{said}"
    )


@pytest.mark.parametrize(("most", "state"), [(0.008, State.COMPLETE), (0.0035, State.INFEASIBLE)])
def test_a_limit_on_another_target(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: float, state: State
) -> None:
    """The toy takes 0.007 ms whatever it runs."""
    monkeypatch.setitem(RUNTIMES, "toy", Toy())
    targets = ({"name": "cpu"}, {"name": "t", "runtime": "toy"})
    bench = replace(bench, study=make_study(targets=targets, constraints={"latency_ms@t": {"max": most}}), of_size={})
    evaluation = evaluate(task_of(bench, tmp_path), bench)
    assert (evaluation.state, bool(evaluation.epochs)) == (state, state is State.COMPLETE)
    broken = {"latency_ms@t": pytest.approx(1.0)} if state is State.INFEASIBLE else {}
    assert evaluation.violations == broken
