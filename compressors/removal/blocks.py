"""Removal of residual blocks: what is left of one is its skip (Veit et al. 2016, arXiv:1605.06431)."""

from __future__ import annotations

import operator
from collections.abc import Collection

import torch
from torch import fx, nn

from compressors.folding import traced
from compressors.removal.parts import ACTIVATIONS, block_named
from compressors.support import Unsupported, check_no_hooks

_SUMS = (operator.add, torch.add)


def remove_blocks(network: nn.Module, names: Collection[str]) -> None:
    """Put an identity in the place of every block named, in place.

    A block can go where it adds its input to what it computes, so that input and output have one shape. Anything else
    is refused before a block is touched: ValueError for a name the network does not have, Unsupported for a block
    without a skip.
    """
    for name in names:
        block = block_named(network, name)
        check_no_hooks(name, block)
        if not adds_its_input(name, block):
            raise Unsupported(
                f"cannot remove block {name}: expected one that adds its input to its result, got another"
            )
    for name in names:
        network.set_submodule(name, nn.Identity())


def adds_its_input(name: str, block: nn.Module) -> bool:
    """Whether a block's result is its input plus something, with at most an activation behind the sum."""
    graph = traced(name, block)
    (sources, (output,)) = graph.find_nodes(op="placeholder"), graph.find_nodes(op="output")
    node = output.args[0]
    while isinstance(node, fx.Node) and node.op == "call_module" and len(node.all_input_nodes) == 1:
        if type(block.get_submodule(str(node.target))) not in ACTIVATIONS:
            return False
        node = node.all_input_nodes[0]
    is_sum = isinstance(node, fx.Node) and node.op == "call_function" and node.target in _SUMS
    return is_sum and len(sources) == 1 and sources[0] in node.args
