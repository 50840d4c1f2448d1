"""What a study asks of an executor: its threads, and the time that an attempt at a task may take."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from nas.data import load
from nas.executors.pool import ExecutorSetup, no_limit
from nas.machine import threads_per_worker
from nas.run_folder.paths import LOGITS, RunFolder
from nas.study import Study
from nas.tasks import OWN_RECIPE, Task


def setup_of(study: Study, folder: RunFolder, *, workers: int) -> ExecutorSetup:
    """What the study asks of an executor; the time in which a shared teacher is trained does not count as a trial's."""
    return ExecutorSetup(
        study,
        folder,
        workers=workers,
        threads=threads_per_worker(workers, study.space.input_sizes[-1]),
        limit_minutes=_limits(study),
        excused=lambda: _teacher_is_awaited(study, folder),
    )


def _limits(study: Study) -> Callable[[Task], float | None]:
    """The time of an attempt at a task: a finalist's is longer as its images are more, or larger, than a trial's."""
    if study.search.trial_minutes is None:
        return no_limit
    largest = study.space.input_sizes[-1]

    @cache
    def images(limit: int | None) -> int:
        return len(load(study.data_of(limit), input_size=largest, seed=study.search.seed).train)

    def limit_minutes(task: Task) -> float | None:
        minutes, own = study.limit_minutes(task.epochs), task.images_in(study)
        if minutes is None or task.phase not in OWN_RECIPE:
            return minutes
        more = 1.0 if own == study.search_images else images(own) / images(study.search_images)
        return minutes * max(1.0, more * (largest / (study.search.input_size or largest)) ** 2)

    return limit_minutes


def _teacher_is_awaited(study: Study, folder: RunFolder) -> bool:
    own = folder.teacher(study.search_changes) / LOGITS
    return folder.awaits_teacher or (study.training.needs_reference and not own.exists())
