"""A run folder with two ended trials, one that runs, and a finalist."""

from __future__ import annotations

from pathlib import Path

import pytest
from by_hand import different, evaluated, make_study
from tracked import Example

from nas.records import State
from nas.run_folder.columns import finalist_columns, trial_columns
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import row_of
from nas.run_folder.tables import write_rows
from nas.study.file import dump_study
from nas.tasks import Task


@pytest.fixture
def example(tmp_path: Path) -> Example:
    study, folder = make_study(trials=4, finalists=1), RunFolder(tmp_path / "run")
    folder.path.mkdir()
    first, second, third = different(3)
    tasks = [
        Task(n, one, "search", n, 8, folder.artifact(one.id, "search", n))
        for n, one in enumerate((first, second, third))
    ]
    tasks.append(Task(0, first, "final", 0, 8, folder.artifact(first.id, "final", 0)))
    began = {"started_at": "2030-01-01T00:00:00+00:00"}
    told = [
        evaluated(tasks[0], study, **began),
        evaluated(tasks[1], study, State.FAILED, reason="training diverged: loss", error="TrainingDiverged", **began),
        evaluated(tasks[3], study, **began),
    ]
    rows = [
        row_of(
            evaluation,
            number=task.number,
            artifact=folder.relative(task.folder),
            params={"head.width": 16, "head.weight_format": "int8"},
        )
        for evaluation, task in zip(told, (tasks[0], tasks[1], tasks[3]), strict=True)
    ]
    folder.study.write_text(dump_study(study))
    write_rows(folder.trials, trial_columns(study), rows[:2])
    write_rows(folder.finalists, finalist_columns(study), rows[2:])
    (folder.path / "front.csv").write_text("trial,id\n0,ab|c\n")
    (folder.path / "report.html").write_text("<p>report</p>")
    return Example(study, folder, tasks, told, rows)
