"""The layers of a blueprint as they are executed: a batch norm is part of the layer that it follows. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from search_spaces.existing.blueprint import Blueprint, Node
from search_spaces.existing.ops import OPS
from search_spaces.remembered import remembered

WRITERS: Mapping[str, str] = {"norm": "conv", "norm1d": "linear"}
"""Batch norms, and the layers that they are folded into."""


@remembered
def folded_norms(blueprint: Blueprint) -> Mapping[str, str]:
    """Batch norm, by node -> module path of the layer of its own, into which it is folded.

    That layer is run once, and nothing else reads it; what does nothing may stand between.
    """
    runs = Counter(node.path for node in blueprint.nodes if OPS[node.op].has_weights)
    readers = Counter(name for node in blueprint.nodes for name in node.reads)
    found: dict[str, str] = {}
    for norm in (node for node in blueprint.nodes if node.op in WRITERS):
        conv = blueprint.by_name.get(norm.reads[0])
        while conv is not None and readers[conv.name] == 1 and (conv.op == "dropout" or conv.name in found):
            conv = blueprint.by_name.get(conv.reads[0])
        if conv is not None and conv.op == WRITERS[norm.op] and runs[conv.path] == readers[conv.name] == 1:
            found[norm.name] = conv.path
    return found


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
