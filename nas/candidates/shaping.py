"""What steps of a plan make of a network's layers, part by part. No torch.

Channels that are pruned are no matter of these rows: an architecture knows its layers at any widths.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from compressors.plan import NETWORK, CompressionPlan
from nas.candidates.low_rank import check_low_rank, factored, with_effect
from nas.candidates.masking import check_masks, masks_with_effect
from nas.candidates.removing import ACTIVATIONS, BLOCKS, without_activations, without_block
from search_spaces.layers import LayerSpec
from search_spaces.parts import Part
from search_spaces.protocols import ArchitectureLike

Shaping = Callable[[Part, Mapping[str, Any]], Part | None]

# Step of STEPS -> a part and the step's decisions by name -> the part that results; None: none does. In the order in
# which steps are applied; those that leave shapes alone have no row.
SHAPINGS: dict[str, Shaping] = {
    BLOCKS: without_block,
    ACTIVATIONS: without_activations,
    "low_rank": factored,
}

# Step -> its decisions and the layers it is applied to, as pruned -> the decisions that have an effect. Steps without a
# row keep all.
EFFECTS: dict[str, Callable[[Mapping[str, Any], Iterable[LayerSpec]], Mapping[str, Any]]] = {
    "low_rank": with_effect,
    "masked": masks_with_effect,
}

# Step -> its decisions and the layers it is applied to; raises ValueError for what cannot be decided of them.
CHECKS: dict[str, Callable[[Mapping[str, Any], Sequence[LayerSpec]], None]] = {
    "low_rank": check_low_rank,
    "masked": check_masks,
}

# Steps that may be told what holds for the whole network.
OF_NETWORK = frozenset({"masked"})

# Steps of which a file shows nothing but the layers that result.
SHOWN_BY_LAYERS = frozenset({"low_rank"})


def with_effects(plan: CompressionPlan, architecture: ArchitectureLike) -> CompressionPlan:
    """The plan without decisions of further steps that leave the network as it is."""
    if not EFFECTS.keys() & plan.steps.keys():
        return plan
    met = {name: dict(EFFECTS[name](given, layers)) for name, given, layers in _met(plan, architecture, EFFECTS)}
    left = {name: decisions for name, decisions in {**plan.steps, **met}.items() if decisions}
    return plan.model_copy(update={"steps": left})


def check_decisions(plan: CompressionPlan, architecture: ArchitectureLike) -> None:
    """Raise ValueError for decisions of further steps that this architecture cannot have."""
    known = {layer.name for layer in architecture.layers(1)}
    for name, given, layers in _met(plan, architecture, CHECKS):
        whole = {NETWORK} if name in OF_NETWORK else set()
        if unknown := sorted(set(given) - known - whole):
            raise ValueError(f"{name} of {unknown[0]}: this architecture does not have such a layer")
        CHECKS[name](given, layers)


def _met(
    plan: CompressionPlan, architecture: ArchitectureLike, steps: Collection[str]
) -> Iterator[tuple[str, Mapping[str, Any], list[LayerSpec]]]:
    """Those of the plan's `steps` with their decisions and the layers that they meet, pruned."""
    parts = tuple(architecture.parts(1, plan.kept))
    for name in dict.fromkeys((*SHAPINGS, *EFFECTS)):
        if name in plan.steps:
            if name in steps:
                yield name, plan.steps[name], [layer for part in parts for layer in part.layers]
            parts = shaped(parts, {name: plan.steps[name]})


def shaped(parts: Iterable[Part], steps: Mapping[str, Mapping[str, Any]]) -> tuple[Part, ...]:
    """The parts that result of a plan's further `steps`."""
    found = tuple(parts)
    for name, shaping in SHAPINGS.items():
        if decisions := steps.get(name):
            found = tuple(part for given in found if (part := shaping(given, decisions)) is not None)
    return found
