"""What was recorded of a training at its rungs, and what it took so far."""

from __future__ import annotations

from typing import Any

from nas.records import QUALITIES, Evaluation
from nas.run_folder.attempts import Spent, spent_before
from nas.run_folder.paths import read_evaluation
from nas.tasks import Task

KEPT = ("measurement", "validation", "train_accuracy", "precision")


def last_record(task: Task) -> Evaluation | None:
    """The record of the last rung that the task's training has reached; None where it has reached none."""
    found = (read_evaluation(task.at_rung(share).folder) for share in reversed(task.rungs))
    return next((record for record in found if record is not None), None)


def spent_on(task: Task) -> Spent:
    """What all attempts at a task took so far: until its last rung, or until the last note where that is more."""
    spent, record = spent_before(task.folder), last_record(task)
    if record is not None and sum(record.seconds.values()) > sum(spent.seconds.values()):
        return Spent(record.seconds, record.started_at)
    return spent


def pruned_fields(record: Evaluation | None) -> dict[str, Any]:
    """What the record of a training that ends early takes over from that of its last rung."""
    return {} if record is None else {name: getattr(record, name) for name in KEPT}


def scores_of(record: Evaluation) -> dict[str, float]:
    """Qualities and costs by name, those that were measured."""
    assert record.measurement is not None, f"{record.candidate_id}: a rung without a measurement"
    qualities = {name: getattr(record.validation, name) for name in QUALITIES}
    costs = record.measurement.costs(record.target)
    return {name: value for name, value in {**qualities, **costs}.items() if value is not None}
