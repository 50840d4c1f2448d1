"""The modules of a quantized network, which train with their rounding (Jacob et al. 2018, arXiv:1712.05877).

Weights have a scale per output channel and the codes of a format, activations one grid per tensor as a scheme says,
biases are int32 on the grid scale_x * scale_w. Which tensors of a network are quantized is decided in `insertion.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressors.formats import UNSIGNED_8, ActivationScheme, Format, format_named
from compressors.quantization.numerics import ROUNDINGS, PackedWeight, RoundToGrid, in_steps, learned_step

_LARGEST_BIAS_CODE = 2**30
SMALLEST_SCALE = 1e-12
LEAST_LEARNED_SHARE = 1 / 8  # of the fitted scale


class ActivationQuantizer(nn.Module):
    """Rounds a tensor to the codes of a scheme and back; gradients pass straight through inside the range.

    While `observing`, each forward pass first moves the range towards the batch's by `momentum`. With `fixed`,
    a (scale, zero point) pair, nothing is ever observed. `ceiling` bounds the range from above (6 after ReLU6).
    """

    is_traced_as_leaf = True
    low: Tensor
    high: Tensor
    scale: Tensor
    zero_point: Tensor

    def __init__(
        self,
        *,
        fixed: tuple[float, int] | None = None,
        ceiling: float = torch.inf,
        momentum: float = 0.1,
        scheme: ActivationScheme = UNSIGNED_8,
    ) -> None:
        super().__init__()
        scale, zero_point = fixed or (1.0, 0)
        self.is_fixed, self.ceiling, self.momentum = fixed is not None, ceiling, momentum
        self.scheme, self.observing = scheme, False
        self.register_buffer("low", torch.tensor(torch.inf))
        self.register_buffer("high", torch.tensor(-torch.inf))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("zero_point", torch.tensor(zero_point, dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        if self.observing and not self.is_fixed:
            self._observe(x.detach())
        if x.device.type == "cpu":
            rounded: Tensor = RoundToGrid.apply(x, *self.grid(), self.scheme.low, self.scheme.high)
            return rounded
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, self.scheme.low, self.scheme.high)

    def _observe(self, x: Tensor) -> None:
        low, high = (bound.to(self.low.dtype) for bound in torch.aminmax(x))
        first = torch.isinf(self.low)
        self.low.copy_(torch.where(first, low, torch.lerp(self.low, low, self.momentum)))
        self.high.copy_(torch.where(first, high, torch.lerp(self.high, high, self.momentum)).clamp(max=self.ceiling))
        bottom, top = self.low.clamp(max=0.0), self.high.clamp(min=0.0)
        if self.scheme.symmetric:
            self.scale.copy_(torch.maximum(-bottom, top).clamp(min=1e-6) / self.scheme.high)
        else:
            self.scale.copy_((top - bottom).clamp(min=1e-6) / self.scheme.levels)
            self.zero_point.copy_((-bottom / self.scale).round() + self.scheme.low)

    def grid(self) -> tuple[float, int]:
        """Scale and zero point."""
        return float(self.scale), int(self.zero_point)


class SharedGrid(nn.Module):
    """Behind a move of codes: they lie on the grid they come from, so nothing is rounded or observed."""

    is_traced_as_leaf = True

    def __init__(self, source: ActivationQuantizer) -> None:
        super().__init__()
        self._source = (source,)  # in a tuple, so that its buffers are not registered here a second time

    def forward(self, x: Tensor) -> Tensor:
        return x

    @property
    def source(self) -> ActivationQuantizer:
        return self._source[0]

    @property
    def scheme(self) -> ActivationScheme:
        return self.source.scheme

    def grid(self) -> tuple[float, int]:
        return self.source.grid()


class QuantizedLayer(nn.Module):
    """What a quantized convolution and a quantized linear layer share: a weight on a grid and a bias on a finer one."""

    is_traced_as_leaf = True
    scales: Tensor
    least_scales: Tensor

    def __init__(
        self, layer: nn.Conv2d | nn.Linear, fmt: Format | str, source: ActivationQuantizer, *, learned: bool = False
    ) -> None:
        super().__init__()
        if layer.bias is None:
            raise ValueError("a quantized layer needs a bias: fold batch norm first")
        self.format = format_named(fmt) if isinstance(fmt, str) else fmt
        if self.format.is_float:
            raise ValueError(f"a quantized layer needs a format of integers, got {self.format.name}")
        if learned and self.format.rounding != "uniform":
            raise ValueError(f"step sizes can be learned for uniform formats, not for {self.format.name}")
        self._rounding = ROUNDINGS[self.format.rounding]
        self.layer = layer
        # In a tuple, so that the producer's buffers are not registered here a second time.
        self._source = (source,)
        self.learned = learned
        scales = torch.ones(layer.weight.shape[0], device=layer.weight.device)
        if learned:
            self.scales = nn.Parameter(scales)
            self.register_buffer("least_scales", torch.zeros_like(scales))
        else:
            self.register_buffer("scales", scales)
        self.refresh_scales()

    @property
    def bias(self) -> Tensor:
        assert self.layer.bias is not None
        return self.layer.bias

    @property
    def input_scale(self) -> Tensor:
        return self._source[0].scale

    @torch.no_grad()
    def refresh_scales(self) -> None:
        """Set the scales of least squared error for the weights as they are now."""
        self._set_scales(self._rounding.fit(self.layer.weight, self.format.codes))

    def _set_scales(self, fitted: Tensor) -> None:
        if self.learned:
            self.least_scales.copy_(fitted * LEAST_LEARNED_SHARE)
        self.scales.copy_(self._bounded(fitted))

    def _bounded(self, scales: Tensor) -> Tensor:
        return self._above_bias(self._above_least(scales))

    def _above_least(self, scales: Tensor) -> Tensor:
        """Learned scales above a share of the fitted ones.

        Where a large step of the optimizer takes one near or below zero, every weight would be clipped, and without
        gradients nothing in the channel would learn again.
        """
        return torch.maximum(scales, self.least_scales) if self.learned else scales

    def _above_bias(self, scales: Tensor) -> Tensor:
        """Scales large enough for the bias: a nearly dead channel would otherwise push it beyond int32."""
        floor = self.bias.detach().abs() / (self.input_scale * _LARGEST_BIAS_CODE)
        return torch.maximum(scales, floor.clamp(min=SMALLEST_SCALE))

    def _trained_scales(self) -> Tensor:
        """The scales within their bounds; learned ones are moved there, so that they keep their gradients."""
        scales = self._bounded(self.scales)
        if not (self.learned and self.training):
            return scales
        with torch.no_grad():
            self.scales.copy_(scales)
        return self.scales

    def _on_grid(self, weight: Tensor, scales: Tensor) -> Tensor:
        """The weight rounded to steps of these sizes, gradients straight through."""
        if self.learned and self.training:
            return learned_step(weight, scales, self.format.codes)
        return self._rounding.on_grid(weight, scales.detach(), self.format.codes)

    def _rounded_bias(self, scales: Tensor) -> Tensor:
        step = self.input_scale * scales.detach()
        return self.bias + ((self.bias / step).round() * step - self.bias).detach()

    def quantized(self) -> tuple[Tensor, Tensor]:
        """Weight and bias on their grids, gradients straight through."""
        scales = self._trained_scales()
        return self._on_grid(self.layer.weight, scales), self._rounded_bias(scales)

    def positions(self) -> Tensor:
        """The weights in steps of their grids; gradients reach them and learned steps."""
        return in_steps(self._own_weight(), self._bounded(self.scales), self.format.codes)

    def _own_weight(self) -> Tensor:
        """What `scales` are the steps of."""
        return self.layer.weight

    def packed(self) -> PackedWeight:
        """The layer as plain data, on the CPU."""
        scales = self._bounded(self.scales).detach().cpu()
        codes = self._rounding.to_codes(self.layer.weight.detach().cpu(), scales, self.format.codes)
        input_scale = self.input_scale.detach().cpu()
        bias_codes = (self.bias.detach().cpu() / (input_scale * scales)).round()
        return PackedWeight(
            codes.to(torch.int8).contiguous(), self.format.name, scales, bias_codes.to(torch.int32), float(input_scale)
        )


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


def observe(module: nn.Module, on: bool) -> None:
    """Switch range observation of every activation quantizer."""
    for child in module.modules():
        if isinstance(child, ActivationQuantizer):
            child.observing = on


def refresh_scales(module: nn.Module, *, learned: bool = True) -> None:
    """Refit every quantized layer's weight scales; without `learned` those that are being trained stay."""
    for child in module.modules():
        if isinstance(child, QuantizedLayer) and (learned or not child.learned):
            child.refresh_scales()
