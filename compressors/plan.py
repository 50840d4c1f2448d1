"""What is decided per layer: channels kept, weight formats, and what further steps ask. Frozen, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from compressors.formats import BITS, WeightFormat

__all__ = ["BITS", "NETWORK", "CompressionPlan", "WeightFormat", "is_number", "kept_channels", "whole_of"]

NETWORK = "network"  # the name by which a step is told what holds for the whole network

T = TypeVar("T")
ByName = Annotated[Mapping[str, T], AfterValidator(lambda m: dict(sorted(m.items())))]


def _is_empty(value: Any) -> bool:
    return not value


class CompressionPlan(BaseModel):
    """Decisions for one network, by name; what is absent stays as it is.

    kept: channel group -> channels left after pruning (absent: all).
    formats: layer -> weight format (absent: fp32). A layer below fp32 computes in 8-bit integers.
    steps: further step of STEPS -> layer or group -> what it does there; left out of the JSON where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kept: ByName[Annotated[int, Field(ge=1)]] = {}
    formats: ByName[WeightFormat] = {}
    steps: ByName[ByName[JsonValue]] = Field({}, exclude_if=_is_empty)

    def format_of(self, layer: str) -> WeightFormat:
        """The format of a layer; a factor of one, `NAME.0`, has that of the whole."""
        return self.formats.get(layer) or self.formats.get(whole_of(layer), "fp32")

    def with_step(self, step: str, decisions: Mapping[str, Any]) -> CompressionPlan:
        """The plan with these decisions of a further step in the place of all it has; none leave the step out."""
        steps = {name: given for name, given in self.steps.items() if name != step}
        return self.model_copy(update={"steps": {**steps, step: decisions} if decisions else steps})


def whole_of(layer: str) -> str:
    """The layer that this is a factor of, by its name, `NAME.0`; its own name where it is whole."""
    whole, _, number = layer.rpartition(".")
    return whole if number.isdigit() else layer


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a number: `true`, which Python takes for 1, is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def kept_channels(width: int, ratio: float, grid: int) -> int:
    """Channels left of `width` when `ratio` of them goes: the nearest multiple of `grid`, at least one step of it."""
    if not 0 <= ratio < 1:
        raise ValueError(f"pruning ratio must be in [0, 1), got {ratio}")
    steps = int(width * (1 - ratio) / grid + 0.5)
    return min(width, max(1, steps) * grid)
