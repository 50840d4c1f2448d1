"""Numerics of quantization as pure functions: scales, codes, and rounding with its gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

DEAD = 1e-20
_BLOCK, _LEAST_ROWS = 1 << 18, 8  # weights that a search passes over many times: so many stay in a core's cache


@dataclass(frozen=True)
class PackedWeight:
    """A quantized layer as plain data.

    value = (entry - zero_point) * scale, where entry is the code itself, or codebook[code] where there is a codebook,
    and 0 where a mask is False; bias = bias_codes * input_scale * scale.

    codes: int8, the shape of the weight; scales: float32 (out,), or () where the layer has one; bias_codes: int32
    (out,); zero_points: int8 of the scales' shape, None: all 0; codebook: int8 (entries,), of which a negative code
    counts from the end, None: none; mask: bool, the shape of the weight, None: all True. `format` is a name of FORMATS.
    """

    codes: Tensor
    format: str
    scales: Tensor
    bias_codes: Tensor
    input_scale: float
    zero_points: Tensor | None = None
    codebook: Tensor | None = None
    mask: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """All that there is, by field, as a file of tensors keeps it; the format is in the plan."""
        fields = {name: value for name, value in vars(self).items() if name != "format" and value is not None}
        return {**fields, "input_scale": torch.tensor(self.input_scale)}


def mse_scales(weight: Tensor, codes: range, *, steps: int = 46) -> Tensor:
    """Per-output-channel scales of least mean squared error, by search over `steps` clipping points: (out,).

    A dead channel gets the scale of one whose largest weight is 1: any is right, and its inverse stays finite.
    """
    rows = weight.detach().flatten(1)
    blocks = torch.split(rows, max(_LEAST_ROWS, _BLOCK // max(1, rows.shape[1])))
    return torch.cat([_mse_scales(block, codes, steps) for block in blocks])


def _mse_scales(rows: Tensor, codes: range, steps: int) -> Tensor:
    low, high = codes[0], codes[-1]
    largest = rows.abs().amax(1)
    full = torch.where(largest > DEAD, largest, torch.ones_like(largest)) / high
    best, best_error = full, torch.full_like(full, torch.inf)
    for fraction in torch.linspace(1.0, 0.1, steps).tolist():
        scale = full * fraction
        restored = (rows / scale[:, None]).round().clamp(low, high) * scale[:, None]
        error = (rows - restored).square().sum(1)
        better = error < best_error
        best, best_error = torch.where(better, scale, best), torch.where(better, error, best_error)
    return best


def nearest_codes(weight: Tensor, scales: Tensor, codes: range) -> Tensor:
    """The nearest code of each weight, by fake_quantize's arithmetic (the inverse is multiplied): equal at ties."""
    return (weight * per_channel(1.0 / scales, weight)).round().clamp(codes[0], codes[-1])


def rounded(weight: Tensor, scales: Tensor, codes: range) -> Tensor:
    """Weights on their grids; gradients pass where the code is not clipped."""
    zero_points = torch.zeros_like(scales, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scales, zero_points, 0, codes[0], codes[-1])


def per_channel(values: Tensor, weight: Tensor) -> Tensor:
    """Values (out,) shaped to multiply a weight (out, ...)."""
    return values.reshape(-1, *(1,) * (weight.dim() - 1))


def learned_step(weight: Tensor, scales: Tensor, codes: range) -> Tensor:
    """Weights on grids whose step sizes learn with them (Esser et al. 2020, LSQ, arXiv:1902.08153), per output channel.

    Values are those of rounding to `scales`; the step's gradient is scaled by 1 / sqrt(weights of a channel * high).
    """
    low, high = codes[0], codes[-1]
    step = per_channel(slowed(scales, weight, high), weight)
    ratio = (weight / step).clamp(low, high)
    on_grid: Tensor = (ratio + (ratio.round() - ratio).detach()) * step
    return on_grid


def in_steps(weight: Tensor, scales: Tensor, codes: range) -> Tensor:
    """Weights in steps of these sizes, not rounded.

    The gradient of a step, which all weights of its channel add to, is scaled by 1 / (weights of a channel * high).
    """
    return weight / per_channel(slowed(scales, weight, codes[-1], power=-1.0), weight)


def slowed(scales: Tensor, weight: Tensor, high: int, *, power: float = -0.5) -> Tensor:
    """The scales (out,), with gradients times a power of weights of a channel * high."""
    factor = (weight[0].numel() * max(1, high)) ** power
    slowed: Tensor = scales * factor + (scales - scales * factor).detach()
    return slowed


class RoundToGrid(torch.autograd.Function):
    """`fake_quantize_per_tensor_affine`, bit by bit, in passes that are vectorized: several times faster on a CPU.

    Torch's own takes a sixth of a quantization-aware step. Gradients pass where the code is not clipped.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, zero_point: int, low: int, high: int) -> Tensor:
        ctx.save_for_backward(x)
        lowest, highest = low - zero_point, high - zero_point
        ctx.bounds = scale * (lowest - 0.5), scale * (highest + 0.5)
        inverse = torch.tensor(1.0) / torch.tensor(scale)  # in single precision, as torch does
        return x.mul(inverse).round_().clamp_(lowest, highest).mul_(torch.tensor(scale))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradients[0], x, *ctx.bounds), None, None, None, None
