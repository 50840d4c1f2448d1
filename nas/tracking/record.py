"""An evaluation as trackers show it, from its row in the run folder's tables or from the row that was just finished."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from nas.records import Phase, State
from nas.run_folder.columns import finalist_columns, kind_of, reference_columns, repeat_columns, trial_columns
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import PARAMS, TrialRow
from nas.run_folder.tables import cells
from nas.study import Study
from nas.tasks import Task

NO_METRICS = ("number", "trial", "seed", "seeds", "retry_of", "attempts")  # numbers that are names or counts
COLUMNS: Mapping[Phase, Callable[[Study], list[str]]] = {
    "search": trial_columns,
    "repeat": repeat_columns,
    "final": finalist_columns,
    "reference": reference_columns,
}


@dataclass(frozen=True)
class Tracked:
    """One evaluation.

    `key` is the same at every start of the driver: `search-12`, or for what comes after the search its artifact.
    `metrics` are numbers by column, `params` its genes, `tags` all other text. `epochs` were trained. Times are seconds
    since 1970 by the clock of where it was trained.
    """

    key: str
    name: str
    state: State | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    epochs: float = 0.0
    began: float | None = None
    ended: float | None = None


def begun(task: Task, relative: str) -> Tracked:
    """An evaluation that begins; `relative` is its folder in the run folder."""
    number = str(task.number)
    tags = {"id": task.candidate.id, "artifact": relative, "phase": task.phase}
    return Tracked(
        _key(task.phase, number, relative), _name(task.phase, number, relative, task.candidate.id), tags=tags
    )


def finished(phase: Phase, row: TrialRow, study: Study) -> Tracked:
    """An evaluation that has ended."""
    columns = COLUMNS[phase](study)
    return _of_cells(phase, dict(zip(columns, cells(row, columns), strict=True)))


def finished_in(folder: RunFolder, *, known: Callable[[str], bool]) -> Iterator[Tracked]:
    """Every evaluation that has ended and whose key is not known, as the folder's tables tell."""
    files: Mapping[Phase, Path] = {
        "search": folder.trials,
        "repeat": folder.repeats,
        "final": folder.finalists,
        "reference": folder.references,
    }
    for phase, file in files.items():
        for row in _rows_of(file):
            if not known(_key(phase, row.get("number", ""), row.get("artifact", ""))):
                yield _of_cells(phase, row)


def best_in(folder: RunFolder, qualities: Sequence[str]) -> dict[str, float]:
    """The best of each quality among the search's complete trials, as its table tells."""
    complete = [row for row in _rows_of(folder.trials) if row.get("state") == State.COMPLETE]
    found = {name: [float(row[name]) for row in complete if row.get(name)] for name in qualities}
    return {name: max(values) for name, values in found.items() if values}


def _rows_of(file: Path) -> Iterator[dict[str, str]]:
    """A table's whole lines; none where there is no table."""
    if file.exists():
        text = file.read_text(encoding="utf-8")
        yield from csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))


def _of_cells(phase: Phase, row: Mapping[str, str]) -> Tracked:
    """The row of a table as text."""
    told = {name: cell for name, cell in row.items() if cell}
    genes = {name.removeprefix(PARAMS): cell for name, cell in told.items() if name.startswith(PARAMS)}
    numbers = {name for name in told if kind_of(name).dtype != "str" and not name.startswith(PARAMS)} - {*NO_METRICS}
    texts = told.keys() - numbers - {name for name in told if name.startswith(PARAMS)}
    number, artifact, seconds = told.get("number", ""), told.get("artifact", ""), float(told.get("seconds", 0))
    began = _seconds_of(told.get("started_at", ""))
    return Tracked(
        key=_key(phase, number, artifact),
        name=_name(phase, number, artifact, told.get("id", "")),
        state=State(told["state"]),
        params={**genes, **({"seed": told["seed"]} if "seed" in told else {})},
        metrics={name: float(told[name]) for name in sorted(numbers)},
        tags={"phase": phase, **{name: told[name] for name in sorted(texts)}},
        epochs=float(told.get("epochs", 0)),
        began=began,
        ended=None if began is None else began + seconds,
    )


def _key(phase: Phase, number: str, artifact: str) -> str:
    return f"search-{number}" if phase == "search" else artifact.removeprefix("artifacts/").replace("/", "-")


def _name(phase: Phase, number: str, artifact: str, candidate_id: str) -> str:
    """What users read: the search's trials by number, what came after by its artifact's name and its network."""
    return f"{f'trial {number}' if phase == 'search' else PurePosixPath(artifact).name} {candidate_id[:8]}"


def _seconds_of(time: str) -> float | None:
    """A recorded time in seconds since 1970; None for what is none."""
    try:
        when = datetime.fromisoformat(time)
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
