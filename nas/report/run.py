"""What a page is made from: a run folder's tables and the records of its front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from nas.records import QUALITIES, Evaluation, State
from nas.report.details import Artifact, read_artifact
from nas.report.figures import FIGURES, Figure, figure, present
from nas.report.references import Reference, references_of
from nas.report.tables import figures_in, front_rows, kept_off, read_finalists, read_repeats, read_trials, records
from nas.report.zeros import has_zeros
from nas.study import Study
from nas.study.file import load_study

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the page needs it."""

    folder: Path
    study: Study
    trials: pd.DataFrame
    finalists: pd.DataFrame
    repeats: pd.DataFrame
    front: list[Row]
    artifacts: list[Artifact]
    references: list[Reference] = field(default_factory=list)

    @property
    def evaluations(self) -> list[Evaluation]:
        return [a.evaluation for a in self.artifacts if a.evaluation is not None]

    @property
    def final(self) -> bool:
        """Whether the front stands on finalists rather than on search-time figures."""
        standing = (self.finalists["state"] == State.COMPLETE) & ~kept_off(self.finalists)
        return bool(standing.any())

    @property
    def repeated(self) -> bool:
        """Whether the search trained a member of the front with several seeds."""
        return any(present(row["mean_accuracy"]) for row in self.front)

    @property
    def has_zeros(self) -> bool:
        """Whether a member of the front has so many zeros that the tables tell of them."""
        return has_zeros(self.front)

    @property
    def outlook(self) -> str:
        """What the page says of finalists beside a search-time front."""
        if len(self.finalists):
            return "No finalist can stand on it so far; why is told below."
        if self.study.search.finalists:
            return "The test split has not been read; finalists are still to come."
        return "The test split has not been read, since the study asks for no finalists (search.finalists: 0)."


def read_run(folder: Path) -> Run:
    study = load_study(folder / "study.yaml")
    rows = records(front_rows(folder))
    artifacts = [read_artifact(folder, row["artifact"]) for row in rows]
    for row, artifact in zip(rows, artifacts, strict=True):
        row |= _other_costs(row, artifact.evaluation)
    tables = read_trials(folder), read_finalists(folder), read_repeats(folder)
    return Run(folder, study, *tables, rows, artifacts, references_of(folder, rows, study.objectives))


def _other_costs(row: Row, evaluation: Evaluation | None) -> Row:
    """What was measured on targets for which the tables have no column, from the same evaluation."""
    if evaluation is None or evaluation.measurement is None:
        return {}
    others = evaluation.measurement.other_costs(evaluation.target)
    return {key: value for key, value in others.items() if key not in row}


def shown_figures(run: Run) -> list[Figure]:
    """The figures that were measured, one per target for latencies, in the order of FIGURES."""
    rows = [*run.front, *figures_in(run.trials)]
    keys = dict.fromkeys(key for row in rows for key in row if key.partition("@")[0] in FIGURES)
    measured = [key for key in keys if any(present(row.get(key)) for row in rows)]
    order = list(FIGURES)
    return [figure(key) for key in sorted(measured, key=lambda k: (order.index(k.partition("@")[0]), k))]


def other_qualities(study: Study) -> list[Figure]:
    """Qualities that the study selects by beside accuracy."""
    return [figure(key) for key in study.objectives if key in QUALITIES and key != "accuracy"]


def default_axes(study: Study, axes: Sequence[Figure]) -> tuple[str, str]:
    """The quality over latency or the first cost that is an objective; costs alone where no quality is asked for."""
    known = [axis.key for axis in axes]
    preferred = ("latency_ms", "size_bytes")  # on whatever target
    wanted = [key for cost in preferred for key in study.objectives if key.partition("@")[0] == cost]
    costs = [key for key in (*wanted, *study.objectives, *known) if key in known and key not in QUALITIES]
    costs = list(dict.fromkeys(costs)) or ["latency_ms"]
    quality = next((key for key in study.objectives if key in QUALITIES), "accuracy")
    without = quality not in study.objectives and len(study.objectives) > 1
    if quality not in known or without:
        return costs[0], costs[min(1, len(costs) - 1)]
    return costs[0], quality
