"""Changes of a blueprint that leave most of it as it is: grey images, a stem for small images, a head of one layer.

Each is a function from blueprint to blueprint; one that finds nothing to change gives an equal one. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from search_spaces.existing.blueprint import INPUT, Blueprint, Node, needed
from search_spaces.existing.errors import Unreadable
from search_spaces.existing.fields import number, numbers, pair
from search_spaces.existing.ops import OPS
from search_spaces.existing.shapes import Unfit, shapes_of

SMALL_IMAGES = 64  # pixels; below, a stem that divides the side by STEM_DIVISION leaves the stages next to nothing
STEM_DIVISION = 4
_BEHIND_FEATURES = ("dropout", "adaptive_average", "average_pool")


def with_grey_input(blueprint: Blueprint) -> Blueprint:
    """The network for images of one channel, which is repeated for it."""
    if blueprint.input_channels == 1:
        return blueprint
    grey = Node(
        name=_free("grey", blueprint), op="select", reads=(INPUT,), fields={"channels": [0] * blueprint.input_channels}
    )
    nodes = (grey, *_reading(blueprint.nodes, {INPUT: grey.name}))
    return Blueprint(input_channels=1, head=blueprint.head, nodes=nodes)


def with_small_stem(blueprint: Blueprint) -> Blueprint:
    """The network with its first convolution of stride 1, 3x3 where it was larger, and without max pooling behind it.

    As networks for images of 32 pixels have it (He et al. 2016, arXiv:1512.03385, section 4.2). Pooling counts as the
    stem's where only norms and activations stand between. Raises Unreadable where the stem divides nothing.
    """
    stem, pool = _stem(blueprint)
    if stem_division(blueprint) == 1 or stem is None:
        raise Unreadable(
            "the network: its first convolution has stride 1 and no pooling behind it, or is not all that reads the "
            "image, expected one to make smaller"
        )
    smaller = {"kernel_size": [3, 3], "padding": [1, 1]} if max(pair(stem, "kernel_size")) > 3 else {}
    changed = stem.model_copy(update={"fields": {**stem.fields, **smaller, "stride": [1, 1]}})
    nodes = tuple(changed if node is stem else node for node in blueprint.nodes if node is not pool)
    sources = {} if pool is None else {pool.name: pool.reads[0]}
    return Blueprint(
        input_channels=blueprint.input_channels, head=blueprint.head, nodes=tuple(_reading(nodes, sources))
    )


def stem_division(blueprint: Blueprint) -> int:
    """By how much the first convolution, and max pooling right behind it, divide the side of an image."""
    return math.prod(max(pair(node, "stride")) for node in _stem(blueprint) if node is not None)


def prefers_small_stem(blueprint: Blueprint, image_size: int) -> bool:
    """Whether networks that are trained from the start on images of this size are better off with a small stem.

    Not where what lies behind the stem cannot take larger maps, as linear layers behind a flattened map cannot.
    """
    if image_size >= SMALL_IMAGES or stem_division(blueprint) < STEM_DIVISION:
        return False
    try:
        shapes_of(with_small_stem(blueprint), image_size)
    except Unfit:
        return False
    return True


def with_linear_head(blueprint: Blueprint) -> Blueprint:
    """The network with a global average, and one linear layer for the classes, behind its last feature map.

    The layer is called as the head was. Raises Unreadable where no feature map is found behind the image.
    """
    features = _last_map(blueprint)
    kept = needed(blueprint.nodes, features)
    average = _behind(blueprint, features, "adaptive_average", {"output_size": [1, 1]})
    flat = _behind(blueprint, average.name, "flatten", {})
    fields = {"in_features": channels_of(blueprint)[features], "out_features": 1, "bias": True}
    head = Node(name=blueprint.head, op="linear", reads=(flat.name,), fields=fields)
    dropout = _dropout_before(blueprint)
    if dropout is not None:
        dropout, head = _fed(dropout, flat.name), _fed(head, dropout.name)
    tail = [node for node in (average, flat, dropout, head) if node is not None]
    return Blueprint(input_channels=blueprint.input_channels, head=head.name, nodes=(*kept, *tail))


def channels_of(blueprint: Blueprint) -> dict[str, int]:
    """How many channels each node's output has; of features 0, since their number depends on the size of images."""
    found = {INPUT: blueprint.input_channels}
    for node in blueprint.nodes:
        if width := OPS[node.op].width:
            found[node.name] = number(node, width)
        elif node.op == "concatenate":
            found[node.name] = sum(found[name] for name in node.reads)
        elif node.op == "select":
            found[node.name] = len(numbers(node, "channels"))
        else:
            found[node.name] = 0 if node.op == "flatten" else found[node.reads[0]]
    return found


def _stem(blueprint: Blueprint) -> tuple[Node | None, Node | None]:
    """The first convolution, if nothing else reads what it reads, and the max pooling right behind it."""
    first = next((node for node in blueprint.nodes if node.op == "conv"), None)
    if first is None or sum(first.reads[0] in node.reads for node in blueprint.nodes) > 1:
        return None, None
    name = first.name
    while True:
        readers = [node for node in blueprint.nodes if name in node.reads]
        if len(readers) != 1:
            return first, None
        if readers[0].op == "max_pool":
            return first, readers[0]
        if not OPS[readers[0].op].by_channel or len(readers[0].reads) != 1 or "kernel_size" in readers[0].fields:
            return first, None
        name = readers[0].name


def _last_map(blueprint: Blueprint) -> str:
    """The node that gives the last feature map, before pooling, dropout and what makes classes of it."""
    by_name, name = blueprint.by_name, blueprint.by_name[blueprint.head].reads[0]
    if by_name[blueprint.head].op == "linear":
        while name != INPUT and by_name[name].op != "flatten":
            if len(by_name[name].reads) > 1:
                raise Unreadable(f"{name} ({by_name[name].op}): joins features of several maps, expected one map")
            name = by_name[name].reads[0]
        name = INPUT if name == INPUT else by_name[name].reads[0]
    while name != INPUT and by_name[name].op in _BEHIND_FEATURES:
        name = by_name[name].reads[0]
    if name == INPUT or channels_of(blueprint)[name] == 0:
        raise Unreadable("the network: has no feature map before its head, expected convolutions")
    return name


def _behind(blueprint: Blueprint, read: str, op: str, fields: dict[str, Any]) -> Node:
    """The node that does this behind another one, as it is there already or new."""
    wanted = Node(name=_free(op, blueprint), op=op, reads=(read,), fields=fields)
    found = [node for node in blueprint.nodes if (node.reads, node.signature) == (wanted.reads, wanted.signature)]
    return found[0] if found else wanted


def _dropout_before(blueprint: Blueprint) -> Node | None:
    """Dropout right before the head."""
    before = blueprint.by_name.get(blueprint.by_name[blueprint.head].reads[0])
    return before if before is not None and before.op == "dropout" else None


def _fed(node: Node, read: str) -> Node:
    return node.model_copy(update={"reads": (read,)})


def _reading(nodes: Sequence[Node], sources: dict[str, str]) -> Iterator[Node]:
    """Nodes that read other ones in the place of those that `sources` names."""
    for node in nodes:
        reads = tuple(sources.get(name, name) for name in node.reads)
        yield node if reads == node.reads else node.model_copy(update={"reads": reads})


def _free(name: str, blueprint: Blueprint) -> str:
    """A name that no node has, nor a module that holds one."""
    taken = {INPUT, "normalize"}
    for node in blueprint.nodes:
        parts = node.path.split(".")
        taken |= {node.name, *(".".join(parts[:count]) for count in range(1, len(parts) + 1))}
    return next(
        found for number in range(len(taken) + 1) if (found := f"{name}_{number}" if number else name) not in taken
    )
