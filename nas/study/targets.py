"""The section `targets`: where latency counts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nas.study.section import AtLeastOne, Name, Section


class Target(Section):
    """Where latency counts: one runtime on this machine."""

    name: Name = Field(description="Stands behind latency_ms@ in tables, for all targets but the first.")
    runtime: Literal["onnxruntime"] = Field("onnxruntime", description="What runs the file.")
    provider: Literal["CPUExecutionProvider"] = Field("CPUExecutionProvider", description="The runtime's backend.")
    threads: AtLeastOne = Field(1, description="Threads of one call.")
    batch: AtLeastOne = Field(1, description="Images of one call.")
