"""What is decided per layer: channels kept and weight formats. Frozen, JSON round trip, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

WeightFormat = Literal["fp32", "int8", "int6", "int5", "int4", "int3", "int2"]
BITS: Mapping[WeightFormat, int] = MappingProxyType(
    {"fp32": 32, "int8": 8, "int6": 6, "int5": 5, "int4": 4, "int3": 3, "int2": 2}
)

T = TypeVar("T")
ByName = Annotated[Mapping[str, T], AfterValidator(lambda m: dict(sorted(m.items())))]


class CompressionPlan(BaseModel):
    """Decisions for one network, by name; what is absent stays as it is.

    kept: channel group -> channels left after pruning (absent: all).
    formats: layer -> weight format (absent: fp32). A layer below fp32 computes in 8-bit integers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kept: ByName[Annotated[int, Field(ge=1)]] = {}
    formats: ByName[WeightFormat] = {}

    def format_of(self, layer: str) -> WeightFormat:
        return self.formats.get(layer, "fp32")


def kept_channels(width: int, ratio: float, grid: int) -> int:
    """Channels left of `width` when `ratio` of them goes: the nearest multiple of `grid`, at least one step of it."""
    if not 0 <= ratio < 1:
        raise ValueError(f"pruning ratio must be in [0, 1), got {ratio}")
    steps = int(width * (1 - ratio) / grid + 0.5)
    return min(width, max(1, steps) * grid)
