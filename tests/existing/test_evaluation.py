"""Existing networks from a study to a file that is measured: what is scored is what is shipped."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import nas.measuring.latency
import nas.measuring.turns
from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample_of
from nas.data import load
from nas.evaluate import evaluate
from nas.records import State
from nas.study import Study
from nas.tasks import Task
from nas.workbench import Workbench
from search_spaces.trials import Pick

BASES = ("torchvision.squeezenet1_1", "torchvision.shufflenet_v2_x0_5", "plain:mlp")


@pytest.fixture(params=BASES)
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.setattr(nas.measuring.turns, "PLACES", ())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(nas.measuring.latency, "BLOCKS", 1)
    monkeypatch.setattr(nas.measuring.latency, "MAX_PASSES", 1)
    monkeypatch.setattr(nas.measuring.latency, "PAUSE_SECONDS", 0.0)
    (tmp_path / "plain.py").write_text(MLP)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.set_num_threads(1)
    is_own = request.param == "plain:mlp"
    study = Study.model_validate(
        {
            "name": "t",
            "data": {"source": "digits", "train_images": 50},
            "space": {"base": request.param, "trusted": is_own, "input_size": 8 if is_own else 32},
            "compression": {"pruning_ratio": (0.0, 0.5), "weight_format": ("int8",), "stage_widths": True},
            "training": {"epochs": 1, "batch_size": 25},
        }
    )
    return Workbench(study, load(study.data, input_size=study.space.input_sizes[-1], seed=0))


MLP = """
from torch import nn

def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
"""


def test_the_file_is_what_the_record_says(bench: Workbench, tmp_path: Path) -> None:
    def half(choices: Any) -> Any:
        return 0.5 if 0.5 in choices else choices[0]

    candidate = sample_of(Pick(half), bench.study)
    task = Task(0, candidate, "search", 3, 1, tmp_path / "artifact")
    evaluation = evaluate(task, bench)
    assert evaluation.state is State.COMPLETE
    measured = evaluation.measurement
    assert measured is not None
    assert (measured.parameters, measured.macs) == (candidate.parameters(10), candidate.macs(10))
    whole = Candidate(architecture=candidate.architecture)
    assert measured.parameters < 0.6 * whole.parameters(10)
    file = task.folder / "model.onnx"
    assert measured.size_bytes == file.stat().st_size
    assert evaluation.validation is not None
    assert scored(file, bench) == pytest.approx(evaluation.validation.accuracy, abs=1e-9)


def scored(file: Path, bench: Workbench) -> float:
    """The share of validation images that a plain session gets right."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    images, labels = bench.data.validation.images, bench.data.validation.labels
    right = [
        int(session.run(None, {"image": np.asarray(image, dtype=np.float32)[None] / 255})[0].argmax()) == int(label)
        for image, label in zip(images, labels, strict=True)
    ]
    return sum(right) / len(right)
