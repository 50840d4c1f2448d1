"""Objectives and constraints on a row or an evaluation: which way is better, on which scale, and by how much beyond."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from nas.records import QUALITIES, Evaluation, State

MARGIN = 1.1  # the reference lies this factor beyond the worst complete trial, so that it too adds something


def beyond_worst(name: str, values: Iterable[float]) -> float:
    """The worst value of an objective, a little worse still."""
    return float(min(values)) / MARGIN if name in QUALITIES else float(max(values)) * MARGIN


def directions_of(objectives: Sequence[str]) -> list[Literal["minimize", "maximize"]]:
    """Which way each objective is better."""
    return ["maximize" if name in QUALITIES else "minimize" for name in objectives]


def may_stand(row: Mapping[str, Any]) -> bool:
    """Whether a row may stand on a front: complete, and its file does what the network does."""
    return row["state"] == State.COMPLETE and "parity" not in row["flags"]


def as_minimised(objective: str, value: float) -> float:
    """An objective on the scale fronts are compared on: error for a quality, the logarithm for costs."""
    return 1 - value if objective in QUALITIES else float(np.log(max(value, 1e-12)))


def slacks(evaluation: Evaluation, limits: Mapping[str, float]) -> dict[str, float]:
    """Per constraint how far above its limit the cost is, relative to the limit; zero or less where it is met."""
    if evaluation.measurement is None:
        return {}
    costs = evaluation.measurement.costs(evaluation.target)
    return {name: costs[name] / limit - 1 for name, limit in limits.items()}
