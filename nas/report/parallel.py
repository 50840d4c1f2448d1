"""Parallel coordinates: every complete trial across its objectives and what its network is like in few numbers.

A hundred genes are a hundred axes and no picture; depth, mean width, channels kept and mean bits are their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from nas.records import State
from nas.report.figures import count, figure, per_cent, present, significant
from nas.report.tables import figures_in


@dataclass(frozen=True, slots=True)
class Axis:
    """One upright axis; `upward` says whether larger stands higher. Objectives stand so that better is up."""

    key: str
    title: str
    scale: float
    log: bool
    upward: bool
    objective: bool
    write: Callable[[float], str]


STRUCTURE = (
    Axis("blocks", "blocks", 1, False, True, False, count),
    Axis("mean_width", "mean width (channels)", 1, False, True, False, significant),
    Axis("kept_share", "channels kept (%)", 100, False, True, False, per_cent),
    Axis("mean_bits", "mean bits per weight", 1, False, True, False, significant),
)


def parallel(trials: pd.DataFrame, front: Collection[int], objectives: Sequence[str]) -> dict[str, Any]:
    """Axes with their range and the complete trials as lines, members of the front last so that they lie on top.

    An axis on which all trials stand at the same place tells nothing and is left out.
    """
    rows = figures_in(trials[trials["state"] == State.COMPLETE])
    rows.sort(key=lambda row: row["number"] in front)
    axes = [axis for axis in axes_of(objectives) if len(_values(rows, axis)) > 1]
    if len(axes) < 2:
        return {"axes": [], "lines": []}
    lines = [
        {"trial": row["number"], "front": row["number"] in front, "at": [_scaled(row.get(a.key), a) for a in axes]}
        for row in rows
    ]
    return {"axes": [_described(axis, sorted(_values(rows, axis))) for axis in axes], "lines": lines}


def axes_of(objectives: Sequence[str]) -> list[Axis]:
    """Objectives in the study's order, then parameters and MACs, then what the network is like."""
    costs = [key for key in ("parameters", "macs") if key not in objectives]
    figures = [(key, figure(key)) for key in (*objectives, *costs)]
    found = [
        Axis(key, f.title, f.scale, f.is_cost, not (f.is_cost and key in objectives), key in objectives, f.write)
        for key, f in figures
    ]
    return [*found, *STRUCTURE]


def _values(rows: Sequence[dict[str, Any]], axis: Axis) -> set[float]:
    return {value for row in rows if (value := _scaled(row.get(axis.key), axis)) is not None}


def _scaled(value: float | None, axis: Axis) -> float | None:
    if value is None or not present(value) or (axis.log and value <= 0):
        return None
    return float(f"{float(value) * axis.scale:.9g}")


def _described(axis: Axis, values: Sequence[float]) -> dict[str, Any]:
    ends = {"low": values[0], "high": values[-1], "ends": [axis.write(values[0]), axis.write(values[-1])]}
    flags = {"log": axis.log, "upward": axis.upward, "objective": axis.objective}
    return {"key": axis.key, "title": axis.title, **ends, **flags}
