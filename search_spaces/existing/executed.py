"""The layers of a blueprint as they are executed: a batch norm is part of the convolution that it follows. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from search_spaces.existing.blueprint import Blueprint, Node
from search_spaces.existing.ops import OPS
from search_spaces.remembered import remembered


@remembered
def runs_of(blueprint: Blueprint) -> Mapping[str, int]:
    """How often what has weights is run, by module path."""
    return Counter(node.path for node in blueprint.nodes if OPS[node.op].has_weights)


@remembered
def folded_norms(blueprint: Blueprint) -> Mapping[str, str]:
    """Path of a batch norm -> path of the convolution of its own, into which it is folded.

    That convolution is run once, as is the norm, and nothing else reads it.
    """
    runs, readers = runs_of(blueprint), Counter(name for node in blueprint.nodes for name in node.reads)
    found: dict[str, str] = {}
    for norm in (node for node in blueprint.nodes if node.op == "norm"):
        conv = blueprint.by_name.get(norm.reads[0])
        if conv is not None and conv.op == "conv" and runs[norm.path] == runs[conv.path] == readers[conv.name] == 1:
            found[norm.path] = conv.path
    return found


@remembered
def layers_in(blueprint: Blueprint) -> tuple[Node, ...]:
    """Convolutions, linear layers and batch norms that are no convolution's, each where it is first run."""
    folded, first = folded_norms(blueprint), dict[str, Node]()
    for node in blueprint.nodes:
        if OPS[node.op].has_weights and node.path not in folded:
            first.setdefault(node.path, node)
    return tuple(first.values())
