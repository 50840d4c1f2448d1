"""The layers of a quantized network, which train with their rounding (Jacob et al. 2018, arXiv:1712.05877).

Weights have the codes of a format and a scale per output channel or, with a codebook, one for all; biases are int32 on
the grid scale_x * scale_w, where scale_x is that of the activations that are read. Which tensors of a network are
quantized is decided in `placing.py`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressors.formats import Format, format_named
from compressors.masking.layers import mask_of
from compressors.quantization.activations import ActivationQuantizer
from compressors.quantization.codebook import entry_codes
from compressors.quantization.numerics import PackedWeight
from compressors.quantization.roundings import ROUNDINGS, Grid

_LARGEST_BIAS_CODE = 2**30
SMALLEST_SCALE = 1e-12
LEAST_LEARNED_SHARE = 1 / 8  # of the fitted scale


class QuantizedLayer(nn.Module):
    """What a quantized convolution and a quantized linear layer share: a weight on a grid and a bias on a finer one."""

    is_traced_as_leaf = True
    scales: Tensor
    least_scales: Tensor
    zero_points: Tensor | None
    entries: Tensor | None

    def __init__(
        self, layer: nn.Conv2d | nn.Linear, fmt: Format | str, source: ActivationQuantizer, *, learned: bool = False
    ) -> None:
        super().__init__()
        if layer.bias is None:
            raise ValueError("a quantized layer needs a bias: fold batch norm first")
        self.format = format_named(fmt) if isinstance(fmt, str) else fmt
        if self.format.is_float:
            raise ValueError(f"a quantized layer needs a format of integers, got {self.format.name}")
        self._rounding = ROUNDINGS[self.format.rounding]
        if learned and self._rounding.learned is None:
            raise ValueError(f"step sizes can be learned where a format has some, not for {self.format.name}")
        self.layer = layer
        # In a tuple, so that the producer's buffers are not registered here a second time.
        self._source = (source,)
        self.learned = learned
        fitted = self._fitted()
        if learned:
            self.scales = nn.Parameter(fitted.steps)
            self.register_buffer("least_scales", torch.zeros_like(fitted.steps))
        else:
            self.register_buffer("scales", fitted.steps)
        self.register_buffer("zero_points", fitted.zero_points)
        self.register_parameter("entries", None if fitted.entries is None else nn.Parameter(fitted.entries))
        self._set_grid(fitted)

    @property
    def trains_its_grid(self) -> bool:
        """Whether step sizes or a codebook's entries are trained with the weights, and not fitted to them."""
        return self.learned or self.entries is not None

    @property
    def bias(self) -> Tensor:
        assert self.layer.bias is not None
        return self.layer.bias

    @property
    def mask(self) -> Tensor | None:
        """False where the weight is zero and stays so, whatever codes its format has; None: nowhere."""
        return mask_of(self.layer)

    @property
    def input_scale(self) -> Tensor:
        return self._source[0].scale

    @torch.no_grad()
    def refresh_scales(self) -> None:
        """Set the grid of least squared error for the weights as they are now."""
        self._set_grid(self._fitted())

    def _fitted(self) -> Grid:
        return self._fit(self._own_weight().detach())

    def _fit(self, weight: Tensor) -> Grid:
        """The grid of least squared error; of signs, over the weights that a mask keeps."""
        grid = self._rounding.fit(weight, self.format.codes)
        if self.mask is None or self.format.has_zero:
            return grid
        kept = self.mask.flatten(1).sum(1).clamp(min=1)
        return replace(grid, steps=grid.steps * (weight[0].numel() / kept))

    @torch.no_grad()
    def _set_grid(self, fitted: Grid) -> None:
        for own, new in ((self.zero_points, fitted.zero_points), (self.entries, fitted.entries)):
            if own is not None and new is not None:
                own.copy_(new)
        if self.learned:
            self.least_scales.copy_(fitted.steps * LEAST_LEARNED_SHARE)
        self.scales.copy_(self._bounded(fitted.steps))

    def _grid(self, steps: Tensor) -> Grid:
        """The layer's grid with these steps."""
        return Grid(steps, self.zero_points, self.entries)

    def _bounded(self, scales: Tensor) -> Tensor:
        return self._rounding.steps(self._grid(self._above_least(scales)), self._floor())

    def _above_least(self, scales: Tensor) -> Tensor:
        """Learned scales above a share of the fitted ones.

        Where a large step of the optimizer takes one near or below zero, every weight would be clipped, and without
        gradients nothing in the channel would learn again.
        """
        return torch.maximum(scales, self.least_scales) if self.learned else scales

    def _floor(self) -> Tensor:
        """Scales large enough for the bias: a nearly dead channel would otherwise push it beyond int32."""
        floor = self.bias.detach().abs() / (self.input_scale * _LARGEST_BIAS_CODE)
        return floor.clamp(min=SMALLEST_SCALE)

    def _trained_scales(self) -> Tensor:
        """The scales within their bounds; learned ones are moved there, so that they keep their gradients."""
        scales = self._bounded(self.scales)
        if not (self.learned and self.training):
            return scales
        with torch.no_grad():
            self.scales.copy_(scales)
        return self.scales

    def _on_grid(self, weight: Tensor, scales: Tensor) -> Tensor:
        """The weight rounded to steps of these sizes, gradients straight through; zero where the layer is masked."""
        if self.learned and self.training:
            assert self._rounding.learned is not None
            on_grid = self._rounding.learned(weight, self._grid(scales), self.format.codes)
        else:
            on_grid = self._rounding.on_grid(weight, self._grid(scales.detach()), self.format.codes)
        return on_grid if self.mask is None else on_grid * self.mask

    def _rounded_bias(self, scales: Tensor) -> Tensor:
        step = self.input_scale * scales.detach()
        return self.bias + ((self.bias / step).round() * step - self.bias).detach()

    def quantized(self) -> tuple[Tensor, Tensor]:
        """Weight and bias on their grids, gradients straight through."""
        scales = self._trained_scales()
        return self._on_grid(self.layer.weight, scales), self._rounded_bias(scales)

    def positions(self) -> Tensor:
        """Where the weights lie among the codes, before rounding; gradients reach them and learned steps."""
        return self._rounding.positions(self._own_weight(), self._grid(self._bounded(self.scales)), self.format.codes)

    def _own_weight(self) -> Tensor:
        """What the grid is that of."""
        return self.layer.weight

    @torch.no_grad()
    def packed(self) -> PackedWeight:
        """The layer as plain data, on the CPU."""
        grid = _on_cpu(self._grid(self._bounded(self.scales)))
        weight, codes = self.layer.weight.detach().cpu(), self.format.codes
        input_scale = self.input_scale.detach().cpu()
        scales = grid.steps if grid.entries is None else grid.steps[0]
        entries = None if grid.entries is None else entry_codes(grid.entries, scales).to(torch.int8)
        return PackedWeight(
            codes=self._rounding.to_codes(weight, grid, codes).to(torch.int8).contiguous(),
            format=self.format.name,
            scales=scales.clone(),
            bias_codes=(self.bias.detach().cpu() / (input_scale * scales)).round().to(torch.int32),
            input_scale=float(input_scale),
            zero_points=None if grid.zero_points is None else grid.zero_points.to(torch.int8),
            codebook=entries,
            mask=None if self.mask is None else self.mask.cpu(),
        )


def _on_cpu(grid: Grid) -> Grid:
    moved = (None if tensor is None else tensor.detach().cpu() for tensor in (grid.zero_points, grid.entries))
    return Grid(grid.steps.detach().cpu(), *moved)


class QuantizedConv2d(QuantizedLayer):
    """A convolution with quantized weight and bias: (N, C, H, W) -> (N, out, H', W')."""

    layer: nn.Conv2d

    def forward(self, x: Tensor) -> Tensor:
        return convolved(self.layer, x, *self.quantized())


def convolved(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution with another weight and bias."""
    return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


class QuantizedLinear(QuantizedLayer):
    """A linear layer with quantized weight and bias: (N, in) -> (N, out)."""

    layer: nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, *self.quantized())


def refresh_scales(module: nn.Module, *, learned: bool = True) -> None:
    """Refit every quantized layer's grid of weights; without `learned` those that are being trained stay."""
    for child in module.modules():
        if isinstance(child, QuantizedLayer) and (learned or not child.trains_its_grid):
            child.refresh_scales()
