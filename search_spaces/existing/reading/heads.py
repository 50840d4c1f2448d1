"""The two ends of a network: how many channels its images have, and the layer whose outputs are the classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import fx, nn

from search_spaces.existing.blueprint import INPUT, Node
from search_spaces.existing.errors import Unreadable
from search_spaces.existing.ops import OPS


def channels_of_images(network: nn.Module, graph: fx.Graph) -> int:
    """What the first convolution reads; without one 3 or 1, of which the first linear layer reads square images."""
    layers = [network.get_submodule(str(node.target)) for node in graph.nodes if node.op == "call_module"]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            return layer.in_channels
        if isinstance(layer, nn.Linear):
            side = math.isqrt(layer.in_features // 3)
            return 3 if 3 * side * side == layer.in_features else 1
    return 1


def classes_left_out(nodes: Sequence[Node]) -> tuple[str, int, tuple[Node, ...]]:
    """The head's name, how many classes it has, and the nodes, in which the head's fields say 1.

    Raises Unreadable where no layer alone decides how many logits there are.
    """
    if not nodes:
        raise Unreadable("the network: gives the image as it is, supported: a classifier")
    by_name = {node.name: node for node in nodes}
    name = nodes[-1].name
    while name != INPUT and not OPS[by_name[name].op].may_be_head:
        node = by_name[name]
        if (not OPS[node.op].by_channel and node.op != "flatten") or OPS[node.op].has_weights or len(node.reads) != 1:
            raise _no_head(f"{node.name} ({node.op})")
        name = node.reads[0]
    if name == INPUT:
        raise _no_head("nothing")
    head = by_name[name]
    if [node.path for node in nodes].count(head.path) > 1 or head.fields.get("groups", 1) != 1:
        raise _no_head(f"{head.name}, which is of several groups or runs more than once,")
    if sum(name in node.reads for node in nodes) > 1:
        raise _no_head(f"{head.name}, which something else reads as well,")
    size = OPS[head.op].width
    classes = head.fields[size]
    assert isinstance(classes, int)
    changed = head.model_copy(update={"fields": {**head.fields, size: 1}})
    return name, classes, tuple(changed if node is head else node for node in nodes)


def _no_head(found: str) -> Unreadable:
    return Unreadable(
        f"the network: its logits come from {found} at its end, supported: a linear layer or a convolution with "
        "nothing but activations, pooling and flattening behind it"
    )
