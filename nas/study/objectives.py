"""Objectives and constraints of a study."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nas.study.section import AboveZero, Section

Cost = Literal["parameters", "macs", "size_bytes", "peak_memory_bytes", "latency_ms"]
Objective = Literal[
    "accuracy", "balanced_accuracy", "macro_f1", "parameters", "macs", "size_bytes", "peak_memory_bytes", "latency_ms"
]  # fmt: skip


class Constraint(Section):
    """The largest value a cost may take."""

    max: AboveZero = Field(description="The largest value, in the unit that the cost's name says.")
