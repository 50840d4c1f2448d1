"""Blocks without their activations, in closed form: what is left of their flow, and which layers become one.

Two layers in a row become one where that is exact and saves parameters: a pointwise layer behind a convolution. One in
front of a wider kernel does not, since its shift would be missing from the padding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from search_spaces.flows import INPUT, Flow, has_flow, writer_of
from search_spaces.layers import LayerSpec
from search_spaces.parts import Part
from search_spaces.sites import BlockSite

ACTIVATIONS = ("relu", "relu6", "hardswish")
FULL = ("conv", "pointwise")  # layers in which every output reads every input


@lru_cache(maxsize=1 << 12)
def flow_of(site: BlockSite) -> Flow:
    """The operations of a block. Raises KeyError for a kind whose flow is not known."""
    flow = Flow()
    writer_of(site.config.kind)(flow, site.config, site.keeps_shape)
    return flow


@lru_cache(maxsize=1 << 12)
def linear_flow(site: BlockSite) -> Flow:
    """The operations of a block whose activations are gone and whose layers are merged."""
    flow = without(flow_of(site), own_activations(site))
    away = merges(site)
    return without(flow, [number for number, operation in enumerate(flow) if operation.layer in away])


@lru_cache(maxsize=1 << 12)
def own_activations(site: BlockSite) -> tuple[int, ...]:
    """Numbers of the activations of a block; the one between the layers of a gate is the gate's. None where the flow is
    not known."""
    if not has_flow(site.config.kind):
        return ()
    flow = flow_of(site)
    return tuple(
        number for number, operation in enumerate(flow)
        if operation.op in ACTIVATIONS and "." not in flow[operation.reads[0]].layer
    )  # fmt: skip


@lru_cache(maxsize=1 << 12)
def merges(site: BlockSite) -> Mapping[str, str]:
    """Layer -> the layer right behind it that takes it in once the block's activations are gone, as the flow names
    them; decided at the widths before pruning."""
    flow, layers = without(flow_of(site), own_activations(site)), _by_name(site)
    found: dict[str, str] = {}
    for operation in flow:
        if operation.op != "layer" or operation.reads == (INPUT,):
            continue
        (source,) = operation.reads
        before, own = flow[source].layer, layers[operation.layer]
        is_alone = sum(source in other.reads for other in flow) == 1
        if not (before and is_alone and before in layers):
            continue
        if layers[before].kind in FULL and own.kind == "pointwise" and own.stride == 1:
            joined = join(layers[before], own)
            if joined.parameters < layers[before].parameters + own.parameters:
                found[before], layers[operation.layer] = operation.layer, joined
    return found


def join(first: LayerSpec, second: LayerSpec) -> LayerSpec:
    """A convolution and the pointwise layer behind it as one, with the name of the latter."""
    return replace(first, name=second.name, out_channels=second.out_channels, output_size=second.output_size)


@lru_cache(maxsize=1 << 14)  # so that equal parts stay one object
def linear_part(part: Part) -> Part:
    """A block without its activations, at the widths it has."""
    assert part.site is not None
    away, start = merges(part.site), len(part.name) + 1
    layers: dict[str, LayerSpec] = {layer.name[start:]: layer for layer in part.layers}
    for first, second in away.items():
        layers[second] = join(layers.pop(first), layers[second])
    return replace(part, layers=tuple(layers.values()), is_linear=True)


def without(flow: Flow, dropped: Collection[int]) -> Flow:
    """The flow without operations of one input: who read such a result reads what it was made from."""
    left, places = Flow(), {INPUT: INPUT}
    for number, operation in enumerate(flow):
        reads = tuple(places[read] for read in operation.reads)
        if number in dropped:
            (places[number],) = reads
        else:
            places[number] = left.do(operation.op, *reads, layer=operation.layer)
    return left


def _by_name(site: BlockSite) -> dict[str, LayerSpec]:
    start = len(site.name) + 1
    return {layer.name[start:]: layer for layer in site.layers()}


def merged_away(site: BlockSite) -> Iterator[str]:
    """Full names of the layers that others take in."""
    return (f"{site.name}.{layer}" for layer in merges(site))
