"""How sure a front of the tables is: each row's probability to be on it, and what repeats with other seeds showed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from nas.on_front import Repeated, probabilities_on_front
from nas.records import QUALITIES

Repeats = Mapping[int, Repeated]  # qualities of every complete repeat, by the number of the search trial


def repeats_in(table: pd.DataFrame) -> Repeats:
    """The repeats of each search trial out of repeats.csv; `table` holds those that may stand on a front."""
    found: dict[int, list[dict[str, float]]] = {}
    names = [name for name in QUALITIES if name in table]
    for trial, *values in table[["trial", *names]].itertuples(index=False, name=None):
        measured = {name: float(value) for name, value in zip(names, values, strict=True) if pd.notna(value)}
        found.setdefault(int(trial), []).append(measured)
    return found


def p_on_front(
    rows: pd.DataFrame, objectives: Sequence[str], repeats: Mapping[int, Repeated], *, seed: int
) -> pd.Series[float]:
    """Of each row, all of which may stand and have every objective, the probability that no other dominates it.

    Rows count in the order of their numbers, so that draws, and with them the probabilities, are those of front.csv.
    """
    if rows.empty:
        return pd.Series(dtype="float64")
    ordered = rows.sort_values("number") if "number" in rows else rows
    found = probabilities_on_front(
        ordered[list(objectives)].to_numpy(dtype="float64"),
        objectives,
        accuracies=_numbers(ordered["accuracy"]),
        accuracy_ses=_numbers(ordered["accuracy_se"]),
        flags=[str(flags).split() for flags in ordered["flags"]],
        repeats=[repeats.get(number, ()) for number in ordered["number"]] if repeats else (),
        seed=seed,
    )
    return pd.Series(found, index=ordered.index, dtype="float64")


def _numbers(column: pd.Series[Any]) -> list[float | None]:
    return [None if pd.isna(value) else float(value) for value in column]


def with_seeds(rows: pd.DataFrame, repeats: Repeats) -> pd.DataFrame:
    """Rows of a front with the number of seeds the search trained and their mean accuracy, where they are several."""
    further = [repeats.get(int(trial), ()) if pd.notna(trial) else () for trial in rows["trial"]]
    groups = [
        [own, *(again["accuracy"] for again in others)] if others and pd.notna(own) else []
        for own, others in zip(rows["search_accuracy"], further, strict=True)
    ]
    seeds = pd.Series([len(group) or np.nan for group in groups], index=rows.index, dtype="float64").astype("Int64")
    means = [float(np.mean(group)) if group else np.nan for group in groups]
    return rows.assign(seeds=seeds, mean_accuracy=pd.Series(means, index=rows.index, dtype="float64"))
