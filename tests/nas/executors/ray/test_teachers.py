"""One worker trains a teacher; tasks of its students wait until its files have come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from by_hand import different, make_study

from nas.executors.ray.assignments import Assignments
from nas.executors.ray.datasets import DriverData
from nas.executors.ray.parcels import ParcelError
from nas.executors.ray.serving import Assignment
from nas.run_folder.paths import RunFolder
from nas.study import Study
from nas.tasks import Task


def assignments(study: Study, path: Path) -> Assignments:
    """Whose store hands out what was put into it."""
    return Assignments(study, RunFolder(path), DriverData(study, lambda value: value), lambda value: value)


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    folder = RunFolder(tmp_path)
    return [Task(i, c, "search", 0, 2, folder.artifact(c.id, "search", 0)) for i, c in enumerate(different(3))]


@pytest.fixture
def study() -> Study:
    return make_study(training={"distillation": {"teacher": "reference"}})


def test_a_second_student_waits_for_the_teachers_files(study: Study, tasks: list[Task], tmp_path: Path) -> None:
    own = assignments(study, tmp_path)
    first, second, _ = tasks
    assert own.may_start(first)
    begun = own.of(first)
    assert (begun.teacher, begun.teacher_files, own.teaches) == ("reference", ({},), True)
    assert not own.may_start(second)
    own.take(first, {"reference/checkpoint.pt": b"half"})
    assert not own.may_start(second)
    files = {"reference/weights.safetensors": b"w", "reference/logits.npy": b"l"}
    own.take(first, files)
    assert (own.may_start(second), own.teaches) == (True, False)
    assert own.of(second).teacher_files == (files,)  # nor is its checkpoint of any use


def test_a_teacher_whose_worker_is_gone_is_another_students(study: Study, tasks: list[Task], tmp_path: Path) -> None:
    own = assignments(study, tmp_path)
    own.of(tasks[0])
    own.take(tasks[0], {"reference/checkpoint.pt": b"half"})
    own.ended(tasks[0])
    assert own.may_start(tasks[1])
    assert own.of(tasks[1]).teacher_files == ({"reference/checkpoint.pt": b"half"},)
    assert not own.may_start(tasks[2])


def test_students_of_another_teacher_and_of_none_do_not_wait(study: Study, tasks: list[Task], tmp_path: Path) -> None:
    own = assignments(study, tmp_path)
    own.of(tasks[0])
    assert own.may_start(replace(tasks[1], phase="final", recipe={"batch_size": 8}))
    assert own.may_start(replace(tasks[1], phase="final", recipe={"teacher": "none"}))
    assert own.may_start(replace(tasks[1], made_from=tasks[0].folder))


def test_files_of_another_task_are_refused(study: Study, tasks: list[Task], tmp_path: Path) -> None:
    own = assignments(study, tmp_path)
    stranger = f"{tasks[1].folder.relative_to(tmp_path).as_posix()}/checkpoint.pt"
    with pytest.raises(ParcelError):
        own.take(tasks[0], {stranger: b"x"})
    with pytest.raises(ParcelError):
        assignments(make_study(), tmp_path).take(tasks[0], {"reference/logits.npy": b"x"})


def test_a_shared_disk_needs_nothing_sent(study: Study, tasks: list[Task], tmp_path: Path) -> None:
    own = replace(assignments(study, tmp_path), is_shared=True)
    tasks[0].folder.mkdir(parents=True)
    (tasks[0].folder / "checkpoint.pt").write_bytes(b"c")
    assert own.of(tasks[0]) == Assignment(tasks[0].to_line())
    assert own.may_start(tasks[1])  # locks see to it
    assert not own.teaches
