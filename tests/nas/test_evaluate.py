"""What an evaluation is held to."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

import nas.evaluate
import nas.measuring.costs
import nas.measuring.latency
from nas.candidates.sampling import sample
from nas.data import load
from nas.errors import InputError, TrainingDiverged
from nas.evaluate import Clock, broken_constraints, evaluate, evaluate_safely, failure, fitting_of
from nas.measuring.parity import ParityBroken, compare
from nas.records import Measurement, Parity, Phase, State
from nas.study import Study
from nas.tasks import Task
from nas.workbench import Workbench
from search_spaces.trials import Pick


@pytest.mark.parametrize(("phase", "bound"), [("search", True), ("final", True), ("reference", False)])
def test_a_constraint_binds_candidates_and_no_reference(phase: Phase, bound: bool) -> None:
    """150 bytes of 100 allowed are half too many, 300 parameters of 300 allowed none."""
    study = Study.model_validate(
        {
            "name": "t",
            "data": {"source": "digits"},
            "space": {"family": "mobile", "preset": "8px"},
            "constraints": {"size_bytes": {"max": 100.0}, "parameters": {"max": 300.0}},
        }
    )
    measurement = Measurement(
        origin="untrained file", parameters=300, macs=1, size_bytes=150, peak_memory_bytes=1, latency={}
    )
    found = broken_constraints(measurement, study, phase)
    assert found == ({"size_bytes": pytest.approx(0.5)} if bound else {})


SPACE = {
    "family": "mixed", "input_size": (8, 16), "stem_widths": (8,), "head_widths": (8,),
    "stages": ({"depths": (1,), "widths": (8,), "stride": 1},),
    "blocks": {"inverted_residual": {"kernels": (3,), "expansions": (2,)}},
}  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    """As a worker has it, at the largest size; locks of its own, so that nobody else's work waits."""
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
    candidate = sample(Pick(lambda choices: size if size in choices else choices[0]), bench.study.space,
                       bench.study.compression, input_channels=1)  # fmt: skip
    return Task(0, candidate, "search", 3, 1, folder / "artifact")


@pytest.mark.parametrize("size", [8, 16])
def test_who_breaks_a_constraint_is_measured_in_its_own_size_and_not_trained(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    bench.study = make_study(constraints={"parameters": {"max": 10.0}})
    monkeypatch.setattr(nas.evaluate, "fitting_of", lambda *_: pytest.fail("trained"))
    task = task_of(bench, tmp_path, size)
    assert task.candidate.architecture.input_size == size
    evaluation = evaluate(task, bench)
    assert evaluation.state is State.INFEASIBLE
    assert evaluation.measurement is not None
    assert evaluation.measurement.macs == task.candidate.macs(10)
    assert [file.name for file in task.folder.iterdir()] == ["evaluation.json"]


@pytest.mark.parametrize("stable", [True, False])
def test_a_disturbed_latency_is_flagged_and_told_of_no_other_network(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stable: bool
) -> None:
    found = list[float]()

    def measured(file: Path, target: Any) -> Any:
        found.append(9.0)
        latency = measure(file, target)
        return latency.model_copy(update={"stable": stable, "latency_ms": found[-1]})

    measure = nas.measuring.costs.measure
    monkeypatch.setattr(nas.measuring.costs, "measure", measured)
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
        entered.append(clock.stage)
        yield lambda: ways.append(clock.stage)

    monkeypatch.setattr(nas.evaluate, "pausing_for_measurements", yielding)
    task = task_of(bench, tmp_path)
    evaluation = evaluate(task, bench, clock)
    assert evaluation.state is State.COMPLETE
    assert evaluation.flags == ("unstable",)  # one pass agrees with none
    assert entered == ["train", "verify", "score"]
    assert Counter(ways) == {"train": 2, "score": 2}  # steps of one epoch; a batch of validation, one of training
    assert set(evaluation.seconds) == {"build", "prune", "emit", "measure", "teach", "train", "verify", "score"}
    assert evaluation.test is None


def test_a_full_disk_is_no_candidates_fault(bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(nas.evaluate, "ship", full)
    task = task_of(bench, tmp_path)
    with pytest.raises(OSError, match="No space left"):
        evaluate_safely(task, bench)
    assert not (task.folder / "evaluation.json").exists()


def test_a_task_is_trained_as_the_study_says(bench: Workbench, tmp_path: Path) -> None:
    compression = {"weight_format": ("int8",), "importance": "bn_scale", "learned_step_sizes": ("int8",)}
    training = {"class_weights": "balanced", "patience": 2, "precision": "bf16"}
    bench.study = make_study(compression=compression, training=training)
    own = fitting_of(replace(task_of(bench, tmp_path), epochs=7), bench, None)
    assert (own.compression, own.epochs, own.feed.seed) == (bench.study.compression, 7, 3)
    assert own.class_weights is bench.class_weights is not None
    assert own.validation is bench.watched
    assert own.choose_precision(nn.Identity()) == "bf16"
    bench.study = make_study()
    assert fitting_of(task_of(bench, tmp_path), bench, None).validation is None


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


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_called_so(poison: float) -> None:
    good, labels = np.eye(4, dtype=np.float32), np.arange(4)
    bad = good.copy()
    bad[2, 1] = poison
    with pytest.raises(TrainingDiverged, match="NaN or infinity in the network's logits"):
        compare(bad, good, labels, integer_head=False)
    with pytest.raises(ParityBroken, match="NaN or infinity in the runtime's logits, none in torch's"):
        compare(good, bad, labels, integer_head=False)
