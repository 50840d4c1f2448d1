"""The layers of a blueprint as they are executed: a batch norm is part of the layer that it follows. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from search_spaces.existing.blueprint import Blueprint, Node
from search_spaces.existing.ops import OPS
from search_spaces.remembered import remembered

NORMED: Mapping[str, str] = {"norm": "conv", "norm1d": "linear"}
"""Batch norm of maps and of features -> the operation that it is folded into."""


@remembered
def folded_norms(blueprint: Blueprint) -> Mapping[str, str]:
    """Batch norm, by node -> module path of the layer of its own, into which it is folded.

    That layer, a convolution or for a norm of features a linear one, is run once, and nothing else reads it; dropout,
    which does nothing, may stand between. Of two norms in a row the second has none.
    """
    runs = Counter(node.path for node in blueprint.nodes if OPS[node.op].has_weights)
    readers = Counter(name for node in blueprint.nodes for name in node.reads)
    found: dict[str, str] = {}
    for norm in (node for node in blueprint.nodes if node.op in NORMED):
        layer = blueprint.by_name.get(norm.reads[0])
        while layer is not None and layer.op == "dropout" and readers[layer.name] == 1:
            layer = blueprint.by_name.get(layer.reads[0])
        if layer is not None and layer.op == NORMED[norm.op] and runs[layer.path] == readers[layer.name] == 1:
            found[norm.name] = layer.path
    return found


def unfolded_features(blueprint: Blueprint) -> Iterator[Node]:
    """Batch norms of features that have no linear layer of their own, and could only be executed as norms."""
    folded = folded_norms(blueprint)
    return (node for node in blueprint.nodes if node.op == "norm1d" and node.name not in folded)


@remembered
def layer_runs(blueprint: Blueprint) -> Mapping[str, tuple[Node, ...]]:
    """All runs of the layers by module path, in order: convolutions, linear layers, batch norms that are not folded."""
    folded, runs = folded_norms(blueprint), dict[str, tuple[Node, ...]]()
    for node in blueprint.nodes:
        if OPS[node.op].has_weights and node.name not in folded:
            runs[node.path] = (*runs.get(node.path, ()), node)
    return runs


def layers_in(blueprint: Blueprint) -> tuple[Node, ...]:
    """Each layer where it is first run."""
    return tuple(runs[0] for runs in layer_runs(blueprint).values())
