"""How sure a front of rows is: probabilities to be on it, and means over the seeds that repeats have added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from nas.on_front import least_errors, probabilities_on_front
from nas.records import QUALITIES
from nas.run_folder.rows import TrialRow
from nas.search.standing import standing, values_of
from nas.seeds import over_seeds

Repeated = Mapping[int, Sequence[TrialRow]]  # complete repeats by the number of their search trial
NO_REPEATS: Repeated = MappingProxyType({})


def on_front(
    rows: Sequence[TrialRow], objectives: Sequence[str], repeats: Repeated = NO_REPEATS, *, seed: int
) -> list[float]:
    """For each of the rows, all of which may stand, the probability that none of the others dominates it."""
    names = [name for name in objectives if name in QUALITIES]
    found: list[float] = probabilities_on_front(
        values_of(rows, objectives),
        objectives,
        accuracies=[row.accuracy for row in rows],
        accuracy_ses=[row.accuracy_se for row in rows],
        flags=[row.flags for row in rows],
        repeats=[
            [{name: again.value(name) for name in names} for again in repeats.get(row.number, ())] for row in rows
        ],
        seed=seed,
    ).tolist()
    return found


def with_p_on_front(
    rows: Sequence[TrialRow], objectives: Sequence[str], repeats: Repeated = NO_REPEATS, *, seed: int
) -> list[TrialRow]:
    """The rows with their probability to be on the front; those that may not stand have none.

    Finalists get no `repeats`: these belong to the search's recipe, and what ships is a finalist's own file.
    """
    able = standing(rows)
    sure = dict(zip((row.number for row in able), on_front(able, objectives, repeats, seed=seed), strict=True))
    return [replace(row, p_on_front=sure.get(row.number)) for row in rows]


def with_seeds(rows: Sequence[TrialRow], repeats: Repeated) -> list[TrialRow]:
    """The rows with the number of seeds that the search trained, and the mean accuracy, where they are several."""
    return [replace(row, **_seeds(row, repeats.get(row.shown, ()))) for row in rows]


def _seeds(row: TrialRow, again: Sequence[TrialRow]) -> dict[str, Any]:
    own = row.accuracy_in_search
    if own is None or not again:
        return {}
    accuracies = [own, *(other.value("accuracy") for other in again)]
    return {"seeds": len(accuracies), "mean_accuracy": sum(accuracies) / len(accuracies)}


def averaged(rows: Sequence[TrialRow], repeats: Repeated) -> list[TrialRow]:
    """Search trials with means over seeds in place of one seed's qualities, and the error of the mean accuracy."""
    able = [row for row in standing(rows) if row.accuracy is not None]
    errors = least_errors([row.accuracy for row in able], [row.accuracy_se for row in able])
    changed: dict[int, dict[str, Any]] = {row.number: {} for row in able}
    for name in QUALITIES:
        measured = [i for i, row in enumerate(able) if getattr(row, name) is not None]
        groups = [[r.value(name) for r in (able[i], *repeats.get(able[i].number, ()))] for i in measured]
        means, ses = over_seeds(groups, errors[measured])
        for i, mean, se in zip(measured, means.tolist(), ses.tolist(), strict=True):
            changed[able[i].number] |= {name: mean} | ({"accuracy_se": se} if name == "accuracy" else {})
    return [replace(row, **changed.get(row.number, {})) for row in rows] if repeats else list(rows)
