"""What trackers are told of: a run folder with two ended trials, one that runs, and a finalist."""

from __future__ import annotations

from dataclasses import dataclass

from nas.records import Evaluation
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import TrialRow
from nas.study import Study
from nas.tasks import Task


@dataclass
class Example:
    """What a driver knows: tasks, and evaluations and rows of the search's two that ended and of the finalist."""

    study: Study
    folder: RunFolder
    tasks: list[Task]
    evaluations: list[Evaluation]
    rows: list[TrialRow]
