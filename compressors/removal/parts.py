"""What removal is about: blocks of a network, by name, and the kinds of activations."""

from __future__ import annotations

from torch import nn

ACTIVATIONS: tuple[type[nn.Module], ...] = (nn.ReLU, nn.ReLU6, nn.Hardswish)


def block_named(network: nn.Module, name: str) -> nn.Module:
    """The module at a path. Raises ValueError where there is none."""
    try:
        return network.get_submodule(name)
    except AttributeError:
        raise ValueError(f"the network has no block {name!r}") from None
