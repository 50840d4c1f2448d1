"""Objectives and constraints of a study."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from nas.records import COSTS, OBJECTIVES
from nas.study.section import AboveZero, Section

Cost = Literal["parameters", "macs", "size_bytes", "peak_memory_bytes", "latency_ms"]
Objective = Literal[
    "accuracy", "balanced_accuracy", "macro_f1", "parameters", "macs", "size_bytes", "peak_memory_bytes", "latency_ms"
]  # fmt: skip


class Constraint(Section):
    """The largest value a cost may take."""

    max: AboveZero = Field(description="The largest value, in the unit that the cost's name says.")


assert get_args(Cost) == COSTS
assert get_args(Objective) == OBJECTIVES
