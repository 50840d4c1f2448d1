"""What a run folder needs after each finished trial: a row more, a point fixed, files that nobody wants any more gone.

Every step looks at the folder and does what is missing, so that a death between two of them costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas.files import write_atomically
from nas.front import front_of
from nas.objectives import as_minimised, may_stand
from nas.pareto import non_dominated
from nas.records import State
from nas.run_folder.rows import append_row, count_rows, front_columns, trial_columns, write_rows
from nas.runtimes.runtime import file_names
from nas.search.finalists import Finalists
from nas.search.search import Search, default_population
from nas.study import Study
from nas.study.file import dump_study


def write_front(search: Search, finalists: Finalists) -> None:
    """front.csv, over the finalists as soon as one is complete, over the search's trials until then."""
    study, folder = search.study, search.folder
    columns = front_columns(study)
    searched = {row["number"]: row for row in search.rows()}
    final_rows = [{**row, "search_accuracy": searched[row["trial"]]["accuracy"]} for row in finalists.rows()]
    if final_rows:
        write_rows(folder.finalists, [*columns, "state", "reason"], final_rows)
    rows = final_rows if any(map(may_stand, final_rows)) else [_as_front_row(row) for row in search.rows()]
    write_rows(folder.front, columns, front_of(rows, study.objectives))


def _as_front_row(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "trial": row["number"], "search_accuracy": row["accuracy"]}


Row = Mapping[str, Any]


class Upkeep:
    """Call it after each result. trials.csv is rebuilt at the start where it is short or has other columns."""

    def __init__(self, search: Search) -> None:
        self._search, self._columns = search, trial_columns(search.study)
        rows = search.rows()
        if count_rows(search.folder.trials, self._columns) != len(rows):
            write_rows(search.folder.trials, self._columns, rows)
        self._written = {row["number"] for row in rows}
        self._trimmed: set[int] = set()
        self._has_reference = bool(search.study.report.hypervolume_reference)

    def __call__(self) -> None:
        rows = self._search.rows()
        for row in rows:
            if row["number"] not in self._written:
                append_row(self._search.folder.trials, self._columns, row)
                self._written.add(row["number"])
        self._fix_reference(rows)
        if self._search.study.artifacts.keep == "front":
            self._trim(rows)

    def _fix_reference(self, rows: Sequence[Row]) -> None:
        """Write the hypervolume's reference point into study.yaml once a generation's worth of trials is complete."""
        study = self._search.study
        complete = [row for row in rows if row["state"] == State.COMPLETE]
        population = study.search.population or default_population(study.search.trials)
        if self._has_reference or len(complete) < population:
            return
        # Of these alone, so that a driver that died before it could write fixes the same point.
        write_atomically(self._search.folder.study, dump_study(with_reference(study, complete[:population])))
        self._has_reference = True

    def _trim(self, rows: Sequence[Row]) -> None:
        wanted = {row["artifact"] for row in worth_keeping(rows, self._search.study)}
        for row in rows:
            # Each trial once: a failed one shares its folder with a retry that may be at work there.
            if row["number"] in self._trimmed or row["artifact"] in wanted:
                continue
            for name in bulky_files(self._search.study):
                (self._search.folder.path / row["artifact"] / name).unlink(missing_ok=True)
            self._trimmed.add(row["number"])


def bulky_files(study: Study) -> tuple[str, ...]:
    """What of an artifact folder weighs: every target's file, and the weights they were made from."""
    return (*dict.fromkeys(file_names(study.targets).values()), "weights.safetensors")


def with_reference(study: Study, complete: Sequence[Row]) -> Study:
    """The study with the point 10 % beyond the worst of `complete` in every objective."""
    from nas.objectives import beyond_worst

    point = {name: beyond_worst(name, [row[name] for row in complete]) for name in study.objectives}
    report = study.report.model_copy(update={"hypervolume_reference": point})
    return study.model_copy(update={"report": report})


def worth_keeping(rows: Sequence[Row], study: Study) -> list[Row]:
    """The front, and whole layers below it while there are fewer than the finalists that will be chosen.

    Finalists are trained anew from the journal; of the search's files they need none.
    """
    left = [row for row in rows if may_stand(row)]
    kept: list[Row] = []
    while left and len(kept) < max(1, study.search.finalists):
        points = np.array([[as_minimised(name, row[name]) for name in study.objectives] for row in left])
        on_front = non_dominated(points)
        kept += [row for row, stays in zip(left, on_front, strict=True) if stays]
        left = [row for row, stays in zip(left, on_front, strict=True) if not stays]
    return kept
