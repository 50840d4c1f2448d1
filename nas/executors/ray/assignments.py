"""What a task takes along to its node, and what comes back of it: the driver's end of the parcels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nas.executors.ray.datasets import DriverData, Ref
from nas.executors.ray.parcels import Parcel, folders_of, packed, progress_of, written
from nas.executors.ray.serving import Assignment
from nas.executors.ray.teachers import Teachers, finished_teacher, teacher_of
from nas.run_folder.paths import LOGITS, RunFolder
from nas.study import Study
from nas.tasks import CHECKPOINT_FILE, Task


@dataclass
class Assignments:
    """Of one run. `is_shared`: actors see the run folder at its own path, and nothing but the data is sent."""

    study: Study
    folder: RunFolder
    data: DriverData
    put: Callable[[Any], Ref]
    is_shared: bool = False
    _teacher_files: dict[str, Ref] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._teachers = Teachers(self.folder)

    def may_start(self, task: Task) -> bool:
        """Whether it need not wait for a teacher that is trained for another task. On a shared disk locks see to it."""
        teacher = self._teacher_of(task)
        return teacher is None or self._teachers.may_start(teacher)

    def of(self, task: Task) -> Assignment:
        """The task with all it needs, on its way."""
        size, images = task.candidate.architecture.input_size, task.images_in(self.study)
        tests = {(size, images): self.data.test((size, images))} if task.reads_test else {}
        if self.is_shared:
            return Assignment(task.to_line(), tests=tests)
        parcel = progress_of(task, self.folder.path)
        if task.made_from is not None:
            parcel |= packed(self.folder.path, task.made_from)
        teacher = self._teacher_of(task)
        if teacher is None:
            return Assignment(task.to_line(), parcel, tests=tests)
        self._teachers.started(teacher, task)
        parcel |= finished_teacher(task, self.study, self.folder)
        return Assignment(task.to_line(), parcel, teacher, (self._files(teacher),), tests)

    def take(self, task: Task, parcel: Parcel) -> None:
        """Write what a worker sent of a task that goes on. Raises ParcelError where it is of something else."""
        teacher = self._teacher_of(task)
        below = {*folders_of(task, self.folder.path), *([] if teacher is None else [teacher])}
        written(parcel, self.folder.path, below=below)
        if teacher is not None and f"{teacher}/{LOGITS}" in parcel:
            (self.folder.path / teacher / CHECKPOINT_FILE).unlink(missing_ok=True)
        self._teachers.settle()

    def ended(self, task: Task | None) -> None:
        if task is not None:
            self._teachers.settle(task)

    @property
    def teaches(self) -> bool:
        """Whether a teacher is trained now."""
        return self._teachers.awaited

    def _teacher_of(self, task: Task) -> str | None:
        return None if self.is_shared else teacher_of(task, self.study, self.folder)

    def _files(self, teacher: str) -> Ref:
        """A teacher's files in the store, where they stay once they are whole."""
        if teacher in self._teacher_files:
            return self._teacher_files[teacher]
        found = self.put(self._teachers.begun(teacher))
        if self._teachers.is_ready(teacher):
            self._teacher_files[teacher] = found
        return found
