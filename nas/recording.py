"""The record of an evaluation: what it took, and the file that says it is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nas.records import UNSTABLE, Evaluation, Measurement, State, parity_at
from nas.run_folder.paths import write_evaluation
from nas.study import Study
from nas.tasks import CHECKPOINT_FILE, Task
from nas.workbench import Workbench


@dataclass
class Clock:
    """Seconds per part of an evaluation. A part within another counts for itself alone."""

    seconds: dict[str, float] = field(default_factory=dict)
    part: str = ""  # the last one that began
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    _open: list[str] = field(default_factory=list)
    _since: float = 0.0

    @classmethod
    def of(cls, record: Evaluation | None) -> Clock:
        """The clock of a training that goes on where another attempt, or another worker, left this record."""
        return cls() if record is None else cls(dict(record.seconds), started_at=record.started_at)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        self._count()
        self.part = part
        self._open.append(part)
        self.seconds.setdefault(part, 0.0)
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


def doubts(measurement: Measurement, study: Study) -> tuple[str, ...]:
    """Flags of latencies that are disturbed, or missing on a target after the first."""
    missing = [parity_at(target.name) for target in study.targets if target.name not in measurement.latency]
    return (*missing, *(() if measurement.is_stable else (UNSTABLE,)))


def finish(
    task: Task, bench: Workbench, clock: Clock, state: State, *, flags: tuple[str, ...] = (), **fields: Any
) -> Evaluation:
    """Make the record and write it: from here on the evaluation is done. `flags` are of its verification."""
    measurement: Measurement | None = fields.get("measurement")
    unsure = doubts(measurement, bench.study) if measurement is not None else ()
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
    write_evaluation(task.folder, evaluation)
    (task.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    return evaluation
