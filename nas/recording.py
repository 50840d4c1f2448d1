"""The record of an evaluation: what it took, and the file that says it is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nas.measuring.costs import doubts
from nas.objectives import limits_words
from nas.records import SIMULATED, Evaluation, Measurement, State
from nas.run_folder.attempts import Spent, forget_spent, note_spent
from nas.run_folder.paths import write_evaluation
from nas.run_folder.rungs import spent_on
from nas.tasks import CHECKPOINT_FILE, Progress, Rung, Task, Tell, Verdict, silent
from nas.training.reporting import Report
from nas.training.stage_run import SECONDS_BETWEEN_CHECKPOINTS
from nas.workbench import Workbench


@dataclass
class Clock:
    """Seconds per part of an evaluation. A part within another counts for itself alone."""

    seconds: dict[str, float] = field(default_factory=dict)
    part: str = ""  # the last one that began
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    tell: Tell = silent  # hears of every part that begins
    _open: list[str] = field(default_factory=list)
    _since: float = 0.0

    @classmethod
    def of(cls, task: Task, tell: Tell = silent) -> Clock:
        """The clock of an evaluation that goes on where another attempt, or another worker, left it."""
        spent = spent_on(task)
        return cls(dict(spent.seconds), started_at=spent.started_at, tell=tell) if spent.started_at else cls(tell=tell)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        self._count()
        self.part = part
        self._open.append(part)
        self.seconds.setdefault(part, 0.0)
        self.tell(Progress(part))
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def so_far(self) -> dict[str, float]:
        """The seconds until now, those of a part that goes on included."""
        self._count()
        return dict(self.seconds)

    def _count(self) -> None:
        """Add the time since the last call to the innermost part."""
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


def noting(task: Task, clock: Clock, report: Report) -> Report:
    """`report`, which is asked after every epoch, with a note of the seconds so far, should this attempt be lost."""
    noted = time.monotonic()

    def told(rung: Rung) -> Verdict:
        nonlocal noted
        if time.monotonic() - noted >= SECONDS_BETWEEN_CHECKPOINTS:
            noted = time.monotonic()
            note_spent(task.folder, Spent(clock.so_far(), clock.started_at))
        verdict = report(rung)
        if verdict is not Verdict.CONTINUE:
            note_spent(task.folder, Spent(clock.so_far(), clock.started_at))
        return verdict

    return told


def finish(
    task: Task, bench: Workbench, clock: Clock, state: State, *, flags: tuple[str, ...] = (), **fields: Any
) -> Evaluation:
    """Make the record and write it: from here on the evaluation is done. `flags` are of its verification."""
    measurement: Measurement | None = fields.get("measurement")
    unsure = doubts(measurement, bench.study.targets, fields.get("ran_integer", ())) if measurement is not None else ()
    unsure += (SIMULATED,) if fields.get("accuracy_source") == SIMULATED else ()
    evaluation = Evaluation(
        candidate_id=task.candidate.id,
        structure_id=task.candidate.structure_id(len(bench.data.class_names)),
        phase=task.phase,
        seed=task.seed,
        training=task.training,
        recipe=task.recipe,
        state=state,
        budget=task.budget_in(bench.study),
        target=bench.study.target.name,
        flags=tuple(dict.fromkeys((*flags, *unsure))),
        seconds=clock.so_far(),
        attempts=task.attempt,
        started_at=clock.started_at,
        machine=bench.versions,
        **fields,
    )
    if broken := evaluation.violations:
        refused = evaluation.measurement.refused if evaluation.measurement is not None else {}
        reason = limits_words(broken, evaluation.known, bench.study.limits, refused)
        evaluation = evaluation.model_copy(update={"reason": reason})
    write_evaluation(task.folder, evaluation)
    (task.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    forget_spent(task.folder)
    return evaluation
