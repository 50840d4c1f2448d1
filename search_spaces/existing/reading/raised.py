"""Features that become maps of one pixel again, as where gates of channels are computed by linear layers.

A blueprint has no such step. What is computed between the flattening of maps of one pixel and it, is the same of maps:
the flattening is left out, linear layers are convolutions of one pixel, their weights of shape (out, in, 1, 1), and
batch norms of features are those of maps.
"""

from __future__ import annotations

from collections.abc import Sequence

from search_spaces.existing.blueprint import Node
from search_spaces.existing.errors import Unreadable

RAISED = "raised"  # no row of OPS: it is gone when a blueprint is made
_ONE = [1, 1]


def without_raised(nodes: Sequence[Node]) -> list[Node]:
    """The nodes without those of RAISED. Raises Unreadable where something else reads the features too."""
    kept, by_name = list(nodes), {node.name: node for node in nodes}
    for raised in (node for node in nodes if node.op == RAISED):
        between = _between(raised, by_name)
        flattened = [by_name[name] for name in between if by_name[name].op == "flatten"]
        names = {raised.name: raised.reads[0], **{node.name: node.reads[0] for node in flattened}}
        for node in kept:
            if node.name not in between and node is not raised and set(node.reads) & between - set(names):
                raise Unreadable(f"{node.name}: reads features that are maps elsewhere, supported: one of both")
        kept = [_as_map(node, between, names) for node in kept if node.name not in names]
        by_name = {node.name: node for node in kept}
    return kept


def _between(raised: Node, by_name: dict[str, Node]) -> set[str]:
    """Names of the nodes from where maps were flattened on."""
    found, waiting = set[str](), [*raised.reads]
    while waiting:
        name = waiting.pop()
        if name not in by_name:
            raise Unreadable(f"{raised.name}: makes maps of the images, supported: of features")
        found.add(name)
        if by_name[name].op == "flatten":
            before = by_name.get(by_name[name].reads[0])
            if before is None or before.fields.get("output_size") != _ONE:
                raise Unreadable(
                    f"{raised.name}: makes maps of features that were maps of several pixels, supported: behind a "
                    "global average"
                )
        else:
            waiting += [each for each in by_name[name].reads if each not in found]
    return found


def _as_map(node: Node, between: set[str], names: dict[str, str]) -> Node:
    """A node that reads what was left out where that came from; what lies between as an operation on maps."""

    def source(name: str) -> str:
        while name in names:
            name = names[name]
        return name

    reads = tuple(source(name) for name in node.reads)
    if node.op == "norm1d" and node.name in between:
        return node.model_copy(update={"op": "norm", "reads": reads})
    if node.op != "linear" or node.name not in between:
        return node if reads == node.reads else node.model_copy(update={"reads": reads})
    sizes = {"in_channels": node.fields["in_features"], "out_channels": node.fields["out_features"]}
    window = {"kernel_size": _ONE, "stride": _ONE, "padding": [0, 0], "dilation": _ONE, "groups": 1}
    fields = {**sizes, **window, "bias": node.fields["bias"]}
    return node.model_copy(update={"op": "conv", "reads": reads, "fields": fields})
