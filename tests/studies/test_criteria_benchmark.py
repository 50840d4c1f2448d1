"""The benchmark of criteria: what it reckons from scores, and one tiny training."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from compressors.pipeline import STEPS
from compressors.pruning import IMPORTANCES
from nas.data import load
from nas.study.file import load_study
from nas.workbench import Workbench

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "studies" / "benchmarks" / "criteria.py"
    spec = importlib.util.spec_from_file_location("criteria_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_taus_by_hand(script: ModuleType) -> None:
    """Of three pairs all, two or none are in order; within a group the other groups do not matter."""
    exact = {"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.tensor([10.0, 20.0, 30.0])}
    scores = {
        "leave_one_out": exact,
        "taylor": {"a": exact["a"], "b": torch.tensor([0.1, 0.2, 0.3])},
        "l2": {"a": torch.tensor([2.0, 1.0, 3.0]), "b": torch.tensor([3.0, 2.0, 1.0])},
        "random": {"a": torch.ones(3), "b": torch.ones(3)},
    }
    found = script.taus_of(scores)
    assert found["taylor"] == pytest.approx({"a": 1.0, "b": 1.0, "network": (3 + 3 - 9) / 15})
    assert found["l2"]["a"] == pytest.approx(1 / 3)
    assert found["l2"]["b"] == pytest.approx(-1.0)
    assert found["random"] == {"a": 0.0, "b": 0.0, "network": 0.0}
    summed = script.summary([found, found])
    assert list(summed) == ["taylor", "random", "l2"]
    assert summed["l2"]["tau"] == pytest.approx((1 / 3 - 1) / 2)
    assert summed["l2"]["interval"] == pytest.approx([(1 / 3 - 1) / 2] * 2)
    assert "taylor" in script.table(summed)


def test_all_criteria_score_one_trained_network(script: ModuleType) -> None:
    small = ["training.epochs=1", "data.train_images=64", "space.stages=[{depths: [1], widths: [8]}]"]
    study = load_study(ROOT / "studies" / "digits.yaml", small)
    bench = Workbench(study, load(study.data, input_size=8, seed=0))
    before = dict(STEPS)
    found = script.scores_of(study, bench, "smallest", 0)
    assert before == STEPS
    assert set(found) == set(IMPORTANCES)
    assert all(torch.isfinite(own).all() for scores in found.values() for own in scores.values())
