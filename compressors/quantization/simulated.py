"""Activations of fewer than 8 bits, which no runtime here computes: what is simulated, and the 8-bit twin of it."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn

from compressors.quantization.activations import ActivationQuantizer

FILE_BITS = 8  # of activations in every file


def is_simulated(network: nn.Module) -> bool:
    """Whether any activation has fewer bits than files have."""
    return any(
        isinstance(module, ActivationQuantizer) and module.scheme.bits < FILE_BITS for module in network.modules()
    )


@torch.no_grad()
def with_8_bits(network: nn.Module) -> nn.Module:
    """A copy whose grids cover the same ranges in 8 bits; the network itself where they all do."""
    if not is_simulated(network):
        return network
    twin = copy.deepcopy(network)
    for module in twin.modules():
        if isinstance(module, ActivationQuantizer) and module.scheme.bits < FILE_BITS:
            _widen(module)
    return twin


def _widen(quantizer: ActivationQuantizer) -> None:
    few, many = quantizer.scheme, replace(quantizer.scheme, bits=FILE_BITS)
    steps = many.high / few.high if few.symmetric else many.levels / few.levels
    if few.powers_of_two:
        steps = 2.0 ** (FILE_BITS - few.bits)
    quantizer.scheme = many
    quantizer.scale.div_(steps)
    if not few.symmetric:
        quantizer.zero_point.copy_(((quantizer.zero_point - few.low) * steps).round() + many.low)
