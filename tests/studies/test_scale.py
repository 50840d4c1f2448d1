"""The benchmark of scale: what it reckons, and a search with sleeping workers."""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from nas.candidates.candidate import Candidate
from nas.records import Evaluation
from nas.tasks import Task

FOLDER = Path(__file__).parents[2] / "studies" / "benchmarks"


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, as when it is run."""
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("scale", FOLDER / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "scale", module)
    spec.loader.exec_module(module)
    return module


def test_a_workers_share_is_of_its_own_time(scale: ModuleType) -> None:
    times = [(1, 0.0, 2.0), (1, 2.0, 4.0), (2, 3.0, 5.0), (2, 6.0, 8.0)]
    busy, last_start = scale.busy_share(times, 2.0)
    assert busy == pytest.approx((1.0 + 4 / 5) / 2)
    assert last_start == 3.0


def test_a_search_with_sleepers_tells_every_trial(scale: ModuleType) -> None:
    opener = partial(scale.local, workers=2, seconds=0.05)
    found = scale.keep_busy("local-2", 2, opener, seconds=0.05, sampler="random")
    assert found.trials == scale.ROUNDS * 2
    assert 0 < found.busy <= 1
    assert found.wall_s >= scale.ROUNDS * 0.05


def test_what_a_sleeper_writes_is_an_evaluation(scale: ModuleType, tmp_path: Path) -> None:
    study, folder = scale.study_in(tmp_path, 2)
    task = scale.Search(study, folder).propose()
    assert isinstance(task, Task)
    assert isinstance(task.candidate, Candidate)
    found = Evaluation.model_validate(scale.sleeper.evaluation(json.loads(task.to_line())))
    assert (found.candidate_id, found.phase, found.seed) == (task.candidate.id, "search", task.seed)
    assert set(study.objectives) <= found.known.keys()
