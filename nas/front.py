"""front.csv: who is not dominated, over the finalists or, before there are any, over the search's trials."""

from __future__ import annotations

from typing import Any

import numpy as np

from nas.finalists import Finalists
from nas.objectives import as_minimised, may_stand
from nas.pareto import non_dominated
from nas.records import QUALITIES
from nas.search import Search
from nas.study import Study
from nas.trial_rows import front_columns, write_rows


def write_front(search: Search, finalists: Finalists) -> None:
    """front.csv, over the finalists as soon as one is complete, over the search's trials until then."""
    study, folder = search.study, search.folder
    columns = front_columns(study)
    searched = {row["number"]: row for row in search.rows()}
    final_rows = [{**row, "search_accuracy": searched[row["trial"]]["accuracy"]} for row in finalists.rows()]
    if final_rows:
        write_rows(folder.finalists, [*columns, "state", "reason"], final_rows)
    rows = final_rows if any(map(may_stand, final_rows)) else [_as_front_row(row) for row in search.rows()]
    write_rows(folder.front, columns, front_of(rows, study))


def _as_front_row(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "trial": row["number"], "search_accuracy": row["accuracy"]}


def front_of(rows: list[dict[str, Any]], study: Study) -> list[dict[str, Any]]:
    """Rows not dominated by another in the study's objectives, best in the first one first.

    Log-loss orders rows of exactly equal quality. It decides nothing else: a row beaten in every objective stays off.
    """
    standing = [row for row in rows if may_stand(row)]
    if not standing:
        return []
    points = np.array([[as_minimised(name, row[name]) for name in study.objectives] for row in standing])
    kept = np.flatnonzero(non_dominated(points))
    by_quality = study.objectives[0] in QUALITIES

    def rank(index: int) -> tuple[float, ...]:
        loss = standing[index].get("log_loss") if by_quality else None
        return (points[index][0], np.inf if loss is None else loss, *points[index][1:])

    return [standing[i] for i in sorted(kept.tolist(), key=rank)]
