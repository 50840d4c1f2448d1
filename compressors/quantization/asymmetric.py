"""Integers of 8 bits with a zero point per output channel, for weights that lie to one side of zero."""

from __future__ import annotations

import torch
from torch import Tensor

from compressors.quantization.numerics import DEAD, per_channel

SHARES = 21  # clipping ranges tried, from the whole range to half of it


def range_grid(weight: Tensor, codes: range) -> tuple[Tensor, Tensor]:
    """Scales and zero points (out,) of (nearly) least squared error, channel by channel; zero is always a value."""
    rows = weight.detach().flatten(1)
    low, high = rows.amin(1).clamp(max=0), rows.amax(1).clamp(min=0)
    is_dead = high - low <= DEAD
    low, high = torch.where(is_dead, -torch.ones_like(low), low), torch.where(is_dead, torch.ones_like(high), high)
    best_error = torch.full_like(low, torch.inf)
    scales, zeros = torch.ones_like(low), torch.zeros_like(low)
    for share in torch.linspace(1.0, 0.5, SHARES).tolist():
        scale = (high - low) * share / (codes[-1] - codes[0])
        zero = (codes[0] - low * share / scale).round().clamp(codes[0], codes[-1])
        restored = (shifted_codes(rows, scale, zero, codes) - zero[:, None]) * scale[:, None]
        error = (rows - restored).square().sum(1)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        scales, zeros = torch.where(better, scale, scales), torch.where(better, zero, zeros)
    return scales, zeros


def shifted_codes(weight: Tensor, scales: Tensor, zero_points: Tensor, codes: range) -> Tensor:
    """The nearest code of each weight: value = (code - zero point) * scale."""
    steps = (weight * per_channel(1.0 / scales, weight)).round()
    return (steps + per_channel(zero_points, weight)).clamp(codes[0], codes[-1])


def on_shifted_grid(weight: Tensor, scales: Tensor, zero_points: Tensor, codes: range) -> Tensor:
    """Weights on their grids; gradients pass where the code is not clipped."""
    return torch.fake_quantize_per_channel_affine(weight, scales, zero_points.to(torch.int32), 0, codes[0], codes[-1])
