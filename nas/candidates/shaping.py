"""What steps of a plan make of a network's layers, part by part. No torch.

Channels that are pruned are no matter of these rows: an architecture knows its layers at any widths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from compressors.plan import CompressionPlan
from nas.candidates.low_rank import check_low_rank, factored, with_effect
from nas.candidates.masked import check_masks, masks_with_effect
from nas.candidates.removing import ACTIVATIONS, BLOCKS, without_activations, without_block
from search_spaces.architecture import Architecture, Part
from search_spaces.layers import LayerSpec

Shaping = Callable[[Part, Mapping[str, Any]], Part | None]

# Step of STEPS -> a part and the step's decisions by name -> the part that results; None: none does. In the order in
# which steps are applied; those that leave shapes alone have no row.
SHAPINGS: dict[str, Shaping] = {
    BLOCKS: without_block,
    ACTIVATIONS: without_activations,
    "low_rank": factored,
}

# Step -> its decisions and the layers it finds -> those decisions that have an effect. Steps without a row keep all.
EFFECTS: dict[str, Callable[[Mapping[str, Any], Iterable[LayerSpec]], Mapping[str, Any]]] = {
    "low_rank": with_effect,
    "masked": masks_with_effect,
}

# Step -> its decisions and the layers before any compression; raises ValueError for what they cannot be.
CHECKS: dict[str, Callable[[Mapping[str, Any], Sequence[LayerSpec]], None]] = {
    "low_rank": check_low_rank,
    "masked": check_masks,
}

# Steps of which a file shows nothing but the layers that result.
SHOWN_BY_LAYERS = frozenset({"low_rank"})


def with_effects(plan: CompressionPlan, architecture: Architecture) -> CompressionPlan:
    """The plan without decisions of further steps that leave the network as it is."""
    if not EFFECTS.keys() & plan.steps.keys():
        return plan
    steps, parts = dict(plan.steps), tuple(architecture.parts(1, plan.kept))
    for name in dict.fromkeys((*SHAPINGS, *EFFECTS)):
        if name in steps and name in EFFECTS:
            steps[name] = dict(EFFECTS[name](steps[name], [layer for part in parts for layer in part.layers]))
        parts = shaped(parts, {name: steps.get(name, {})})
    return plan.model_copy(update={"steps": {name: given for name, given in steps.items() if given}})


def check_decisions(plan: CompressionPlan, architecture: Architecture) -> None:
    """Raise ValueError for decisions of further steps that this architecture cannot have."""
    for name, given in plan.steps.items():
        if name in CHECKS:
            CHECKS[name](given, architecture.layers(1))


def shaped(parts: Iterable[Part], steps: Mapping[str, Mapping[str, Any]]) -> tuple[Part, ...]:
    """The parts that result of a plan's further `steps`."""
    found = tuple(parts)
    for name, shaping in SHAPINGS.items():
        if decisions := steps.get(name):
            found = tuple(part for given in found if (part := shaping(given, decisions)) is not None)
    return found
