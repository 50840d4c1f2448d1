"""Removal of activations, block by block (Fu et al. 2022, DepthShrinker, arXiv:2206.00843)."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from compressors.removal.merging import merge_pairs
from compressors.removal.parts import ACTIVATIONS, block_named
from compressors.support import check_no_hooks


def remove_activations(network: nn.Module, names: Collection[str]) -> None:
    """Make identities of the activations that are children of the blocks named, in place; then `merge_pairs` of each.

    Activations deeper in a block, as those of a gate, stay. Raises ValueError, before anything is changed, for a name
    the network does not have, a block without an activation of its own, and where none would be left in the network:
    all its layers would be one linear map.
    """
    found = {name: _own_activations(network, name) for name in names}
    gone = {f"{name}.{child}" for name, children in found.items() for child in children}
    left = [path for path, module in network.named_modules() if type(module) in ACTIVATIONS and path not in gone]
    if found and not left:
        raise ValueError("cannot remove every activation: expected at least one that stays")
    for name, children in found.items():
        block = network.get_submodule(name)
        for child in children:
            block.set_submodule(child, nn.Identity())
        merge_pairs(name, block)


def _own_activations(network: nn.Module, name: str) -> list[str]:
    """Names of the activations right below a block."""
    block = block_named(network, name)
    found = [child for child, module in block.named_children() if type(module) in ACTIVATIONS]
    if not found:
        raise ValueError(f"block {name}: expected an activation of its own to remove, got none")
    for child in found:
        check_no_hooks(f"{name}.{child}", block.get_submodule(child))
    return found
