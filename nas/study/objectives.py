"""Objectives and constraints of a study."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from nas.study.at_targets import AT_TARGET, WAYS, is_at_target
from nas.study.section import AboveZero, Section

Cost = Literal[
    "parameters", "macs", "size_bytes", "peak_memory_bytes", "latency_ms", "nonzero_parameters", "coded_bytes"
]
Objective = Literal[
    "accuracy", "balanced_accuracy", "macro_f1", "parameters", "macs", "size_bytes", "peak_memory_bytes", "latency_ms",
    "nonzero_parameters", "coded_bytes",
]  # fmt: skip


def _objective(name: str) -> str:
    if name not in get_args(Objective) and not is_at_target(name):
        raise ValueError(f"expected one of {', '.join(get_args(Objective))}, {WAYS}, got {name!r}")
    return name


def _further(name: str) -> str:
    """A key of `constraints` beside its fields; another one is unknown, as it is in every section."""
    if not is_at_target(name):
        raise PydanticCustomError("extra_forbidden", "Extra inputs are not permitted")
    return name


_WAYS = [{"enum": list(get_args(Objective)), "type": "string"}, {"pattern": AT_TARGET, "type": "string"}]
ObjectiveName = Annotated[str, AfterValidator(_objective), WithJsonSchema({"type": "string", "anyOf": _WAYS})]
CostAtTarget = Annotated[str, AfterValidator(_further)]


class AtMost(Section):
    """The largest value a cost may take."""

    max: AboveZero = Field(description="The largest value, in the unit that the cost's name says.")


class AtLeast(Section):
    """The smallest value a quality may take."""

    min: Annotated[float, Field(gt=0, le=1)] = Field(
        description="The smallest value on the validation split: a fraction, 0.9 for 90 %."
    )


def _by_pattern(schema: dict[str, Any]) -> None:
    """Say of what form further keys are, in place."""
    schema["patternProperties"], schema["additionalProperties"] = {AT_TARGET: schema["additionalProperties"]}, False


class Constraints(Section):
    """Largest values of costs and smallest ones of qualities. A candidate that breaks one is INFEASIBLE.

    Of a cost this is known nearly always before it is trained, else when its final file is measured; of a quality only
    then. Qualities bind what is trained as finalists are: no trial that is trained less. `latency_ms@NAME` and
    `size_bytes@NAME` are those of another target than the first.
    """

    model_config = ConfigDict(extra="allow", json_schema_extra=_by_pattern)
    __pydantic_extra__: dict[CostAtTarget, AtMost] = Field(init=False)

    accuracy: AtLeast | None = Field(None, description="Share of right answers; by default no limit.")
    balanced_accuracy: AtLeast | None = Field(None, description="Mean recall of the classes; by default no limit.")
    macro_f1: AtLeast | None = Field(None, description="Mean F1 of the classes; by default no limit.")
    parameters: AtMost | None = Field(None, description="Weights and biases after pruning; by default no limit.")
    macs: AtMost | None = Field(None, description="Multiply-accumulates of one image; by default no limit.")
    size_bytes: AtMost | None = Field(None, description="Bytes of the file; by default no limit.")
    peak_memory_bytes: AtMost | None = Field(
        None, description="Bytes of activations that are alive at once, at most; by default no limit."
    )
    latency_ms: AtMost | None = Field(
        None, description="Milliseconds of one call on the first target; by default no limit."
    )
    nonzero_parameters: AtMost | None = Field(
        None, description="Weights and biases that are not zero in the trained file; by default no limit."
    )
    coded_bytes: AtMost | None = Field(
        None, description="Bytes of the trained file when it is entropy-coded; by default no limit."
    )

    @property
    def limits(self) -> dict[str, float]:
        """The bounds that are given, by name."""
        given = {name: getattr(self, name) for name in type(self).model_fields} | (self.model_extra or {})
        return {
            name: bound.max if isinstance(bound, AtMost) else bound.min
            for name, bound in given.items()
            if isinstance(bound, AtMost | AtLeast)
        }

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: bound for name, bound in handler(self).items() if bound is not None}
