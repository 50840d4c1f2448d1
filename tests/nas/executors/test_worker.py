"""A worker's line to a driver that is gone."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from nas.candidates.corners import extreme_candidates
from nas.data import load
from nas.evaluate import evaluate_safely
from nas.executors.worker import Line
from nas.study import Study
from nas.tasks import Progress, Rung, Task
from nas.workbench import Workbench


class Closed(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_a_worker_ends_when_nobody_listens() -> None:
    line = Line(io.StringIO(), Closed())
    with pytest.raises(SystemExit, match="the driver is gone"):
        line.tell(Progress("train"))
    with pytest.raises(SystemExit, match="the driver is gone"):
        line.report(Rung(1.0, 2))
    said = io.StringIO()
    with pytest.raises(SystemExit, match="the driver is gone"):
        Line(io.StringIO(), said).report(Rung(1.0, 2))  # heard, and not answered
    assert said.getvalue()


def test_a_drivers_death_is_no_failure_of_the_candidate(tmp_path: Path) -> None:
    study = Study.model_validate(
        {"name": "t", "data": {"source": "digits", "train_images": 100}, "space": {"preset": "8px"}}
    )
    bench = Workbench(study, load(study.data, input_size=8, seed=0))
    task = Task(0, extreme_candidates(study)["smallest"], "search", 0, 1, tmp_path)
    with pytest.raises(SystemExit):
        evaluate_safely(task, bench, tell=Line(io.StringIO(), Closed()).tell)
    assert not (tmp_path / "evaluation.json").exists()
