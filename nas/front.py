"""The Pareto front of rows: which are not dominated, the best in the first objective first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.objectives import as_minimised, may_stand
from nas.pareto import non_dominated
from nas.records import QUALITIES


def front_of(rows: Sequence[dict[str, Any]], objectives: Sequence[str]) -> list[dict[str, Any]]:
    """Rows not dominated by another in the study's objectives, best in the first one first.

    Log-loss orders rows of exactly equal quality. It decides nothing else: a row beaten in every objective stays off.
    """
    standing = [row for row in rows if may_stand(row)]
    if not standing:
        return []
    points = np.array([[as_minimised(name, row[name]) for name in objectives] for row in standing])
    kept = np.flatnonzero(non_dominated(points))
    by_quality = objectives[0] in QUALITIES

    def rank(index: int) -> tuple[float, ...]:
        loss = standing[index].get("log_loss") if by_quality else None
        return (points[index][0], np.inf if loss is None else loss, *points[index][1:])

    return [standing[i] for i in sorted(kept.tolist(), key=rank)]
