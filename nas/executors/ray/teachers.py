"""Who trains which teacher: one worker each, and the tasks of its students wait until its files have come."""

from __future__ import annotations

from dataclasses import dataclass, field

from nas.executors.ray.parcels import Parcel, packed
from nas.run_folder.paths import LOGITS, RunFolder, folder_named
from nas.study import Study
from nas.study.finals import teacher_changes
from nas.tasks import CHECKPOINT_FILE, Task


def teacher_of(task: Task, study: Study, folder: RunFolder) -> str | None:
    """The folder, below the run's, of the teacher that a task needs; None where it needs none."""
    if task.made_from is not None or not task.recipe_in(study).needs_reference:
        return None
    return folder.relative(folder.teacher(teacher_changes(task.recipe)))


def finished_teacher(task: Task, study: Study, folder: RunFolder) -> Parcel:
    """The files of a finished network of this run that teaches; none where none does."""
    options = study.training_by(teacher_changes(task.recipe)).distillation
    found = folder_named(None if options is None else options.architecture, folder)
    if found is None or not found.is_relative_to(folder.path):
        return {}
    return packed(folder.path, found, lambda name: name != CHECKPOINT_FILE)


@dataclass
class Teachers:
    """Teachers of one run, by their folders below it; each is trained for the first task that needs it."""

    folder: RunFolder
    _trained_for: dict[str, Task] = field(default_factory=dict)

    def is_ready(self, teacher: str) -> bool:
        return (self.folder.path / teacher / LOGITS).exists()

    def may_start(self, teacher: str) -> bool:
        """Whether a task that needs it may begin: it is there, or this task will train it."""
        return self.is_ready(teacher) or teacher not in self._trained_for

    def started(self, teacher: str, task: Task) -> None:
        if not self.is_ready(teacher):
            self._trained_for[teacher] = task

    def settle(self, task: Task | None = None) -> None:
        """Forget who trains what is there by now, and what was trained for a `task` that has ended."""
        for teacher, own in list(self._trained_for.items()):
            if own == task or self.is_ready(teacher):
                del self._trained_for[teacher]

    @property
    def awaited(self) -> bool:
        """Whether one is trained now."""
        return bool(self._trained_for)

    def begun(self, teacher: str) -> Parcel:
        """What there is of one: its files, or the checkpoint of its training."""
        return packed(self.folder.path, self.folder.path / teacher)
