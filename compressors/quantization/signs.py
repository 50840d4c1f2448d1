"""Weights of two and of three values, with a scale per output channel.

Their scales are trained with the weights. Fitted again at every epoch, as TWN and XNOR-Net fit theirs to the weights at
every step, they cost two points on digits with two values, and tens with three.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compressors.quantization.numerics import DEAD, per_channel, slowed
from compressors.quantization.rounding import straight_through


def mean_magnitudes(weight: Tensor) -> Tensor:
    """The scales of least squared error of -s and s, channel by channel: the means of |w| (out,).

    Rastegari et al. 2016, XNOR-Net, arXiv:1603.05279.
    """
    return weight.detach().abs().flatten(1).mean(1)


def sign_codes(weight: Tensor) -> Tensor:
    """-1 below zero, else 1."""
    return torch.where(weight < 0, -1.0, 1.0)


def on_signs(weight: Tensor, scales: Tensor) -> Tensor:
    """-s or s; gradients pass straight through, as in BinaryConnect (Courbariaux et al. 2015, arXiv:1511.00363)."""
    return straight_through(weight, sign_codes(weight) * per_channel(scales, weight))


def learned_signs(weight: Tensor, scales: Tensor) -> Tensor:
    """`on_signs` whose scales are trained; their gradients are scaled as those of learned steps."""
    steps = per_channel(slowed(scales, weight, 1), weight)
    return straight_through(weight, torch.zeros_like(weight)) + sign_codes(weight) * steps


def ternary_scales(weight: Tensor) -> Tensor:
    """The scales of least squared error of -s, 0 and s, channel by channel: (out,).

    Of the k largest magnitudes the mean is the best scale, and leaves an error that falls with (their sum)^2 / k; all k
    are tried. Li et al. 2016 (TWN, arXiv:1605.04711) estimate the same with a threshold of 0.7 times the mean. A dead
    channel gets scale 1.
    """
    largest = weight.detach().abs().flatten(1).double().sort(1, descending=True).values
    sums = largest.cumsum(1)
    counts = torch.arange(1, largest.shape[1] + 1, device=weight.device, dtype=sums.dtype)
    best = (sums.square() / counts).argmax(1, keepdim=True)
    scales = (sums.gather(1, best) / counts[best])[:, 0]
    return torch.where(scales > DEAD, scales, torch.ones_like(scales)).to(weight.dtype)
