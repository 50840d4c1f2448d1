"""What the benchmark of estimates reckons."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from by_hand import different, evaluated, make_study
from rich.console import Console

from nas.estimate import Estimate, Seconds
from nas.run_folder.paths import RunFolder, write_evaluation
from nas.tasks import Task

SCRIPT = Path(__file__).parents[2] / "studies" / "benchmarks" / "estimate.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("estimate_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_was_said_over_what_was_taken(script: ModuleType) -> None:
    said = Estimate(Seconds(50.0, 200.0), Seconds(10.0, 40.0), Seconds(64.0, 244.0))
    found = script.compared(said, {"search": 125.0, "finalists": 0.0, "total": 125.0})
    assert found["search"] == {"low": 50, "high": 200, "middle": 100, "taken": 125, "said_by_taken": 0.8}
    assert found["finalists"]["said_by_taken"] == 1.0  # there was nothing to foretell
    console = Console(width=140)
    with console.capture() as shown:
        console.print(script.table_of([{"study": "s", "parts": found}]))
    for words in ("50 s to 3.3 min", "1.7 min", "2.1 min", "0.80"):
        assert words in shown.get()


def test_nothing_but_a_run_folder_is_removed(script: ModuleType, tmp_path: Path) -> None:
    script.remove_run(tmp_path / "none")
    (tmp_path / "thesis.tex").touch()
    script.remove_run(tmp_path)
    assert tmp_path.exists()
    (tmp_path / "study.yaml").touch()
    script.remove_run(tmp_path)
    assert not tmp_path.exists()


def test_finals_begin_with_the_first_finalist_or_reference(script: ModuleType, tmp_path: Path) -> None:
    study, folder = make_study(), RunFolder(tmp_path)
    assert script.finals_began(tmp_path, 123.0) == 123.0
    one = different(1)[0]
    moments = {"search": "2030-01-01T00:00:00", "final": "2030-01-01T00:02:00", "reference": "2030-01-01T00:01:00"}
    for phase, moment in moments.items():
        task = Task(0, one, "search", 1, 8, folder.artifact(one.id, phase, 1))  # type: ignore[arg-type]
        evaluation = evaluated(replace(task, phase=phase), study)  # type: ignore[arg-type]
        write_evaluation(task.folder, evaluation.model_copy(update={"started_at": f"{moment}+00:00"}))
    began = script.finals_began(tmp_path, 1e12)
    assert began == 1893456060  # 2030-01-01, a minute after midnight UTC
