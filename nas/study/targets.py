"""The section `targets`: where latency counts."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from nas.registry import RUNTIMES
from nas.study.addresses import agent_url
from nas.study.cluster import custom_resource
from nas.study.section import AtLeastOne, Name, Section

RuntimeName = Annotated[str, AfterValidator(RUNTIMES.known), RUNTIMES.schema]
DEFAULT_RUNTIME = "onnxruntime"


class Target(Section):
    """Where latency counts: one runtime on this machine, on a node of a cluster or beside an agent."""

    name: Name = Field(description="Stands behind latency_ms@ in tables, for all targets but the first.")
    runtime: RuntimeName = Field(DEFAULT_RUNTIME, description="What runs the file.")
    provider: Annotated[str, Field(min_length=1)] = Field(
        "CPUExecutionProvider",
        description="The runtime's backend, by its own name: CPUExecutionProvider, CUDAExecutionProvider, ... of ONNX "
        "Runtime; CPU, GPU, ... of OpenVINO. Left out, it is the runtime's own default.",
    )
    threads: AtLeastOne = Field(1, description="Threads of one call.")
    batch: AtLeastOne = Field(1, description="Images of one call.")
    device: Annotated[str, Field(min_length=1), AfterValidator(custom_resource)] | None = Field(
        None,
        description="The custom resource of the Ray node that measures it, `ray start --resources='{\"pi5\": 1}'` for "
        "pi5; by default the driver's machine measures.",
    )
    agent: Annotated[str, AfterValidator(agent_url)] | None = Field(
        None,
        description="Address of the `nas agent` that measures it, http://HOST:PORT or https://HOST:PORT; by default "
        "none. Its token is read from the variable COMPACT_NAS_AGENT_TOKEN_NAME, with the target's name, or "
        "COMPACT_NAS_AGENT_TOKEN.",
    )

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is not the driver's machine that measures it."""
        return self.device is not None or self.agent is not None

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}

    @model_validator(mode="after")
    def _one_place(self) -> Target:
        if self.device is not None and self.agent is not None:
            raise ValueError("agent: expected device or agent, got both")
        return self

    @model_validator(mode="before")
    @classmethod
    def _runtimes_own_provider(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "provider" in given:
            return given
        runtime = given.get("runtime", DEFAULT_RUNTIME)
        known = isinstance(runtime, str) and runtime in RUNTIMES
        return {**given, "provider": RUNTIMES[runtime].default_provider} if known else given
