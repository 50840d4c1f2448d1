"""Rewinding: what survives pruning goes back to earlier weights (Frankle et al. 2019, arXiv:1912.05671)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


@torch.no_grad()
def rewind(network: nn.Module, early: Mapping[str, Tensor]) -> None:
    """Give every parameter and buffer, in place, the value that `early` has by its name.

    It comes before channels are cut, or masks are laid: the network must be the one that `early` was taken of. Raises
    ValueError for names or shapes that differ.
    """
    own = dict(network.state_dict(keep_vars=True))
    if unlike := sorted(set(own) ^ set(early)):
        raise ValueError(f"rewind: expected weights of the same network, got {unlike[0]} in one of them only")
    for name, tensor in own.items():
        if tensor.shape != early[name].shape:
            came, expected = tuple(early[name].shape), tuple(tensor.shape)
            raise ValueError(f"rewind: expected {name} of shape {expected}, got {came}")
        tensor.copy_(early[name])
