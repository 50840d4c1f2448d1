"""What an existing network does between its layers, in stretches of parts. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

from search_spaces.existing.blocks import block_names
from search_spaces.existing.blueprint import INPUT as IMAGE
from search_spaces.existing.blueprint import Blueprint, Node
from search_spaces.existing.executed import folded_norms, layer_runs, layers_in
from search_spaces.existing.ops import OPS
from search_spaces.existing.shapes import shapes_of
from search_spaces.flows import INPUT, Flow, Op, Operation, Stretch
from search_spaces.remembered import remembered

IDLE = ("dropout",)  # what is not executed


@remembered
def stretches_of(blueprint: Blueprint, input_size: int, pixel_channels: int) -> tuple[Stretch, ...] | None:
    """The network from its normalisation on, which has numbers for so many channels (0: one for all).

    A stretch ends as late as may be before the next layer, where one tensor carries all on; parts between which none
    does are one stretch. None for a network that runs a layer more than once.
    """
    if any(len(runs) > 1 for runs in layer_runs(blueprint).values()):
        return None
    nodes = [node for node in blueprint.nodes if node.op not in IDLE and node.name not in folded_norms(blueprint)]
    ends = list(_ends(blueprint, nodes))
    found, source = list[Stretch](), IMAGE
    for (begin, _), (end, parts) in pairwise([(0, ()), *ends]):
        flow = Flow()
        if source == IMAGE:
            flow.append(Operation("normalize", (INPUT,), fields=(("channels", pixel_channels),)))
        found.append(Stretch(parts, _flow(blueprint, input_size, nodes[begin:end], source, flow)))
        source = nodes[end - 1].name
    return tuple(found)


def _ends(blueprint: Blueprint, nodes: Sequence[Node]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The number of nodes before the end of each stretch, and the parts in it."""
    homes, layers = block_names(blueprint), {node.path for node in layers_in(blueprint)}
    order = [(place, homes[node.path]) for place, node in enumerate(nodes) if node.path in layers]
    carried, waiting = set(_carried(blueprint, nodes)), list[str]()
    for (_, part), (following, other) in pairwise(order):
        waiting += [part] if part not in waiting else []
        started = {home for place, home in order if place < following}
        left = {home for place, home in order if place >= following}
        begin = max(place for place, _ in order if place < following)
        if part == other or started & left:
            continue
        if places := [place for place in range(begin, following) if place in carried]:
            yield places[-1] + 1, tuple(waiting)
            waiting = []
    part = order[-1][1]
    yield len(nodes), tuple([*waiting, part] if part not in waiting else waiting)


def _carried(blueprint: Blueprint, nodes: Sequence[Node]) -> Iterator[int]:
    """The places of nodes whose result alone is read by what comes behind them."""
    real = _real(blueprint)
    last = {real[name]: place for place, node in enumerate(nodes) for name in node.reads}
    alive = {IMAGE}
    for place, node in enumerate(nodes):
        alive = {name for name in (*alive, node.name) if last.get(name, -1) > place}
        if alive == {node.name}:
            yield place


@remembered
def _real(blueprint: Blueprint) -> Mapping[str, str]:
    """By node whose result it is as executed: behind what is idle or folded, that of what it reads."""
    folded, found = folded_norms(blueprint), {IMAGE: IMAGE}
    for node in blueprint.nodes:
        found[node.name] = found[node.reads[0]] if node.op in IDLE or node.name in folded else node.name
    return found


def _flow(blueprint: Blueprint, input_size: int, nodes: Sequence[Node], source: str, flow: Flow) -> Flow:
    real, shapes = _real(blueprint), shapes_of(blueprint, input_size)
    places = {source: len(flow) - 1}  # INPUT is -1
    for node in nodes:
        height, width = (*shapes[node.name][1:], 1, 1)[:2]
        is_layer = OPS[node.op].has_weights
        flow.append(
            Operation(
                _op_of(node, height * width),
                tuple(places[real[name]] for name in node.reads),
                node.path if is_layer else "",
                (height, width),
                () if is_layer else tuple(sorted((key, _frozen(value)) for key, value in node.fields.items())),
            )
        )
        places[node.name] = len(flow) - 1
    return flow


def _op_of(node: Node, pixels: int) -> Op:
    """What it is called in a flow, of an output of so many pixels."""
    if OPS[node.op].has_weights:
        return "layer"
    return "average" if node.op == "adaptive_average" and pixels == 1 else cast("Op", node.op)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
