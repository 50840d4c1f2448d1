"""The parts of an existing network with their layers, at any widths. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from types import MappingProxyType
from typing import get_args

from search_spaces.block_configs import Activation
from search_spaces.existing.blocks import node_blocks
from search_spaces.existing.blueprint import Blueprint
from search_spaces.existing.layers import LayerPlan, layer_plans
from search_spaces.layers import LayerSpec
from search_spaces.parts import Part
from search_spaces.remembered import remembered

NOTHING_CUT: Mapping[str, int] = MappingProxyType({})


def layers_of(
    blueprint: Blueprint, input_size: int, *, num_classes: int, kept: Mapping[str, int] = NOTHING_CUT
) -> tuple[LayerSpec, ...]:
    """Every layer once, in order of execution; `kept` maps a channel group to its channels after pruning.

    A batch norm that follows no convolution of its own is a layer: it scales each channel, as a depthwise one of 1x1.
    """
    parts = parts_of(blueprint, input_size, num_classes=num_classes, kept=kept)
    return tuple(layer for part in parts for layer in part.layers)


def parts_of(
    blueprint: Blueprint, input_size: int, *, num_classes: int, kept: Mapping[str, int] = NOTHING_CUT
) -> tuple[Part, ...]:
    """The layers by part, in order of execution; `kept` as in `layers_of`.

    Raises Unfit, with the node, for images that the network cannot take.
    """
    plans = _plans(blueprint, input_size)
    return tuple(_part(plan, tuple(map(kept.get, plan.groups)), num_classes) for plan in plans)


@dataclass(frozen=True, eq=False, slots=True)
class _PartPlan:
    """A part before pruning: its layers, and the groups that its widths follow from."""

    name: str
    layers: tuple[LayerPlan, ...]
    groups: tuple[str, ...]
    activation: Activation
    is_edge: bool


# Networks of a pool differ in few parts at a time.
@lru_cache(maxsize=1 << 16)
def _part(plan: _PartPlan, left: tuple[int | None, ...], num_classes: int) -> Part:
    kept = {name: count for name, count in zip(plan.groups, left, strict=True) if count is not None}
    layers = tuple(layer.at(kept, num_classes) for layer in plan.layers)
    return Part(plan.name, layers, activation=plan.activation, is_edge=plan.is_edge)


@remembered
def _plans(blueprint: Blueprint, input_size: int) -> tuple[_PartPlan, ...]:
    plans, activations = layer_plans(blueprint, input_size), _activations(blueprint)
    edges = {plans[0].spec.block, plans[-1].spec.block}
    return tuple(
        _PartPlan(
            name=name,
            layers=(layers := tuple(run)),
            groups=tuple(dict.fromkeys(group for layer in layers for group in layer.groups())),
            activation=activations.get(name, "relu"),
            is_edge=name in edges,
        )
        for name, run in groupby(plans, key=lambda plan: plan.spec.block)
    )


def _activations(blueprint: Blueprint) -> Mapping[str, Activation]:
    """The first activation in each part that has one of those which spaces know."""
    homes, found = node_blocks(blueprint), dict[str, Activation]()
    for node, activation in _known(blueprint):
        found.setdefault(homes[node], activation)
    return found


def _known(blueprint: Blueprint) -> Iterator[tuple[str, Activation]]:
    known: tuple[Activation, ...] = get_args(Activation)
    for node in blueprint.nodes:
        yield from ((node.name, activation) for activation in known if activation == node.op)
