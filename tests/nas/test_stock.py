"""A finished network quantized after its training: the record is one of its own, and nothing is trained."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import nas.measuring.latency
import nas.measuring.turns
from nas.candidates.baseline import baseline_candidate, quantized_baseline
from nas.data import load
from nas.evaluate import evaluate, evaluate_safely
from nas.records import State
from nas.run_folder.paths import read_evaluation
from nas.stock import CALIBRATION_IMAGES, calibration_images
from nas.study import Study
from nas.tasks import Task
from nas.workbench import Workbench

STUDY = Study.model_validate(
    {
        "name": "t",
        "data": {"source": "digits", "train_images": 200},
        "space": {"family": "mobile", "preset": "8px"},
        "training": {"epochs": 2, "batch_size": 50},
    }
)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    """As a worker has it; locks of its own, so that nobody else's work waits."""
    monkeypatch.setattr(nas.measuring.turns, "PLACES", ())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(nas.measuring.latency, "BLOCKS", 1)
    monkeypatch.setattr(nas.measuring.latency, "MAX_PASSES", 1)
    monkeypatch.setattr(nas.measuring.latency, "PAUSE_SECONDS", 0.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Workbench(STUDY, load(STUDY.data, input_size=8, seed=0))
    torch.set_num_threads(threads)


def tasks_in(folder: Path) -> tuple[Task, Task]:
    plain = Task(0, baseline_candidate(STUDY), "reference", 1, 2, folder / "plain", reads_test=True)
    quantized = replace(plain, number=1, candidate=quantized_baseline(STUDY), folder=folder / "int8")
    return plain, replace(quantized, made_from=plain.folder)


def test_a_trained_network_is_quantized_measured_and_scored(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, quantized = tasks_in(tmp_path)
    trained = evaluate(plain, bench)
    monkeypatch.setattr(nas.evaluate, "pipeline_of", lambda *_: pytest.fail("trained again"))
    found = evaluate_safely(quantized, bench)
    assert (found.state, found.phase, found.epochs) == (State.COMPLETE, "reference", 2)
    assert read_evaluation(quantized.folder) == found
    assert found.candidate_id == quantized.candidate.id != trained.candidate_id
    assert found.ran_integer == found.asked_integer == tuple(quantized.candidate.plan.formats)
    assert {layer.format for layer in found.layers} == {"int8"}
    assert all(layer.sparsity is not None for layer in found.layers)
    assert found.parity is None
    assert set(found.seconds) == {"quantize", "measure", "score"}
    assert found.test is not None
    assert found.measurement is not None
    assert trained.measurement is not None
    assert found.measurement.size_bytes == (quantized.folder / "model.onnx").stat().st_size
    assert found.measurement.parameters == trained.measurement.parameters
    assert found.measurement.size_bytes < trained.measurement.size_bytes / 2
    assert trained.validation is not None
    assert found.validation is not None
    assert abs(found.validation.accuracy - trained.validation.accuracy) < 0.1
    written = json.loads((quantized.folder / "candidate.json").read_text())
    assert written == quantized.candidate.to_json()


@pytest.mark.parametrize("state", [None, State.FAILED])
def test_without_a_finished_network_it_fails_and_says_so(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State | None
) -> None:
    plain, quantized = tasks_in(tmp_path)
    if state is State.FAILED:
        monkeypatch.setattr(nas.evaluate, "ship", lambda *_, **__: 1 / 0)
        assert evaluate_safely(plain, bench).state is State.FAILED
    found = evaluate_safely(quantized, bench)
    assert (found.state, found.reason) == (State.FAILED, "plain: holds no finished network to quantize")


def test_ranges_are_set_from_training_images_of_all_classes(bench: Workbench) -> None:
    images = calibration_images(bench, 1)
    assert images.shape == (200, 1, 8, 8)
    assert (images.dtype, float(images.max())) == (np.float32, 1.0)
    many = replace(bench.data.train, images=np.repeat(bench.data.train.images, 4, axis=0),
                   labels=np.repeat(bench.data.train.labels, 4))  # fmt: skip
    more = replace(bench, data=replace(bench.data, train=many))
    first, again, other = (calibration_images(more, seed) for seed in (1, 1, 2))
    assert len(first) == CALIBRATION_IMAGES
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
