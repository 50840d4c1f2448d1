"""How many bits the weights' codes take, as a loss: the entropy of soft histograms (arXiv:1812.07520).

Entropy-constrained training (Wiedemann et al. 2018) adds the bits of a network's codes to its loss, so that it learns
codes that are cheap to code: mostly zeros, few large ones. A code is shared by the two grid points that a weight lies
between, each the nearer the more, as in histogram losses (Ustinova and Lempitsky 2016, arXiv:1611.00822). On the grid
this is the entropy of the codes; between two points its slope is the difference of their bits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compressors.quantization.modules import QuantizedLayer

LEAST_COUNT = 0.5  # of a code, when its bits are told: one that never occurs has some as well


def soft_histogram(positions: Tensor, codes: range) -> Tensor:
    """Weights at every code (codes,): one that lies between two codes counts for both, the nearer one more.

    NaN counts for code 0: that a training has diverged is for others to tell.
    """
    places = ((positions.flatten().nan_to_num() - codes[0]) / codes.step).clamp(0, len(codes) - 1)
    below = places.detach().floor().clamp(max=max(0, len(codes) - 2))
    share, index = places - below, below.long()
    counts = torch.zeros(max(2, len(codes)), device=positions.device)
    return counts.index_add(0, index, 1 - share).index_add(0, index + 1, share)


def entropy_bits(counts: Tensor) -> Tensor:
    """Bits of all that was counted, each code's by its own share: a scalar. Gradients see the bits as they are now.

    That is the gradient of the entropy too: shares sum to one, so the changes of the bits cancel.
    """
    known = counts.detach().clamp(min=LEAST_COUNT)
    return -(counts * torch.log2(known / counts.detach().sum().clamp(min=LEAST_COUNT))).sum()


def mean_bits(network: nn.Module) -> Tensor:
    """Bits per weight of all quantized layers, each with its own histogram; 0 where there are none."""
    layers = [module for module in network.modules() if isinstance(module, QuantizedLayer)]
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    bits, weights = torch.zeros((), device=device), 0
    for layer in layers:
        positions = layer.positions()
        if layer.mask is not None and not layer.format.has_zero:
            positions = positions[layer.mask]  # what is masked has no code
        bits = bits + entropy_bits(soft_histogram(positions, layer.format.codes))
        weights += positions.numel()
    return bits / max(1, weights)
