"""The section `targets`: where latency counts."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from nas.registry import RUNTIMES
from nas.study.section import AtLeastOne, Name, Section

Runtime = Annotated[str, AfterValidator(RUNTIMES.known), RUNTIMES.schema]


def _default_provider(given: dict[str, Any]) -> str:
    """The provider that the runtime takes by itself; any text where the runtime is no known one, which is refused."""
    return str(RUNTIMES[given["runtime"]].default_provider) if "runtime" in given else ""


class Target(Section):
    """Where latency counts: one runtime on this machine."""

    name: Name = Field(description="Stands behind latency_ms@ in tables, for all targets but the first.")
    runtime: Runtime = Field("onnxruntime", description="What runs the file.")
    provider: Annotated[str, Field(min_length=1)] = Field(
        default_factory=_default_provider,
        description="The runtime's backend, by its own name: CPUExecutionProvider, CUDAExecutionProvider, ... of ONNX "
        "Runtime, CPU, GPU, ... of OpenVINO. Left out, the runtime's CPU.",
    )
    threads: AtLeastOne = Field(1, description="Threads of one call.")
    batch: AtLeastOne = Field(1, description="Images of one call.")
