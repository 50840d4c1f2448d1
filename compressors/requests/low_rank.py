"""What a plan asks of low rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compressors.low_rank.factoring import Factoring, factoring_of
from compressors.plan import CompressionPlan

STEP = "low_rank"


@dataclass(frozen=True)
class LowRank:
    """Layer -> how it is factored; channel group -> channels kept later, since ranks are those of what is shipped.

    `widths_are_known`: whether it is known which channels are kept, and does not depend on weights.
    """

    layers: Mapping[str, Factoring]
    kept: Mapping[str, int] = field(default_factory=dict)
    widths_are_known: bool = True


def asked(plan: CompressionPlan) -> LowRank | None:
    """How layers are factored. Raises ValueError, with the layer, for what is no way to do so."""
    layers = {layer: factoring_of(layer, given) for layer, given in plan.steps.get(STEP, {}).items()}
    return LowRank(layers, plan.kept, "pruned" not in plan.steps) if layers else None


def depends(record: LowRank) -> bool:
    """Whether a rank depends on weights; one that a shape tells does as well where widths do."""
    if not record.widths_are_known:
        return not all(one.settled for one in record.layers.values())
    return any(one.depends_on_weights for one in record.layers.values())


def written(plan: CompressionPlan, record: LowRank) -> CompressionPlan:
    """The plan with these ways of factoring in the place of what it asks for."""
    return plan.with_step(STEP, {name: one.decision() for name, one in record.layers.items()})


def least(plan: CompressionPlan, *_: Any) -> CompressionPlan:
    """The plan in which every layer has the smallest ranks there are."""
    record = asked(plan)
    if record is None:
        return plan
    return written(plan, LowRank({name: one.least() for name, one in record.layers.items()}))
