"""The section `targets`: where latency counts."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from nas.registry import RUNTIMES
from nas.study.section import AtLeastOne, Name, Section

RuntimeName = Annotated[str, AfterValidator(RUNTIMES.known), RUNTIMES.schema]
DEFAULT_RUNTIME = "onnxruntime"


class Target(Section):
    """Where latency counts: one runtime on this machine."""

    name: Name = Field(description="Stands behind latency_ms@ in tables, for all targets but the first.")
    runtime: RuntimeName = Field(DEFAULT_RUNTIME, description="What runs the file.")
    provider: Annotated[str, Field(min_length=1)] = Field(
        "CPUExecutionProvider",
        description="The runtime's backend, by its own name: CPUExecutionProvider, CUDAExecutionProvider, ... of ONNX "
        "Runtime; CPU, GPU, ... of OpenVINO. Left out, it is the runtime's own default.",
    )
    threads: AtLeastOne = Field(1, description="Threads of one call.")
    batch: AtLeastOne = Field(1, description="Images of one call.")

    @model_validator(mode="before")
    @classmethod
    def _runtimes_own_provider(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "provider" in given:
            return given
        runtime = given.get("runtime", DEFAULT_RUNTIME)
        known = isinstance(runtime, str) and runtime in RUNTIMES
        return {**given, "provider": RUNTIMES[runtime].default_provider} if known else given
