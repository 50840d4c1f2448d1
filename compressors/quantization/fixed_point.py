"""Scales that are powers of two: integers are rescaled by shifts, as hardware without multipliers for it wants."""

from __future__ import annotations

import torch
from torch import Tensor

from compressors.quantization.numerics import DEAD, nearest_codes, per_channel

HALVINGS = 6  # of the scale that just holds the largest weight; below that all but a few weights would be clipped


def power_above(values: Tensor) -> Tensor:
    """The smallest powers of two that are no smaller than positive values; exact, since divisions are."""
    mantissas, _ = torch.frexp(values)  # in [0.5, 1)
    return torch.where(mantissas == 0.5, values, values / mantissas)


def power_scales(weight: Tensor, codes: range) -> Tensor:
    """Of all powers of two the scales of least squared error, channel by channel: (out,). A dead channel's is 1."""
    rows = weight.detach().flatten(1)
    largest = rows.abs().amax(1)
    full = power_above(torch.where(largest > DEAD, largest / codes[-1], torch.ones_like(largest)))
    tried = torch.stack([full * 0.5**halving for halving in range(HALVINGS)])
    errors = torch.stack([_squared_error(rows, scales, codes) for scales in tried])
    best: Tensor = tried.gather(0, errors.argmin(0, keepdim=True))[0]
    return best


def _squared_error(rows: Tensor, scales: Tensor, codes: range) -> Tensor:
    restored = nearest_codes(rows, scales, codes) * per_channel(scales, rows)
    return (rows - restored).square().sum(1)
