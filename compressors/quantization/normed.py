"""Batch norm that stays alive in quantization-aware training, and is folded when that is over.

Jacob et al. 2018 (arXiv:1712.05877) and Krishnamoorthi 2018 (arXiv:1806.08342) quantize the folded weight
w * gamma / sigma and correct for the difference between the batch's sigma and the running one. With a scale per output
channel no correction is needed: rounding the folded weight to steps gamma / sigma * s is rounding w to steps s, so the
layer's own weight is rounded and batch norm follows as ever. Where channels cannot have scales of their own, as
with a codebook or powers of two, the weight folded with running statistics is rounded, and divided again by what it was
multiplied by. Towards the end statistics are frozen; from then on the layer computes as the folded one that is shipped.
"""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from compressors.masking.layers import mask_of
from compressors.quantization.modules import SMALLEST_SCALE, QuantizedConv2d, QuantizedLayer, QuantizedLinear, convolved
from compressors.quantization.numerics import per_channel
from compressors.support import BatchNorm

LEAST_FACTOR = 1e-6  # of a norm, to divide by


class FreezableNorm(nn.BatchNorm2d):
    """A batch norm that, while frozen, uses its running statistics in training as well, and leaves them alone.

    Of maps (N, C, H, W), or of features (N, C).
    """

    running_mean: Tensor
    running_var: Tensor
    is_frozen = False

    @classmethod
    def of(cls, norm: BatchNorm) -> FreezableNorm:
        """A copy of `norm`; scale and shift of one that has none are 1 and 0, and stay so."""
        made = cls(norm.num_features, norm.eps, norm.momentum)
        made.load_state_dict(norm.state_dict(), strict=norm.affine)
        made.requires_grad_(norm.affine)
        like = norm.running_mean
        return made if like is None else made.to(like.device)

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() not in (2, 4):
            raise ValueError(f"expected maps (N, C, H, W) or features (N, C), got a tensor of {x.dim()} axes")

    def train(self, mode: bool = True) -> FreezableNorm:
        super().train(mode and not self.is_frozen)
        return self

    def freeze(self, on: bool) -> None:
        """Freeze or thaw; a network that is thawed is in training mode."""
        self.is_frozen = on
        self.train(not on)

    def factor(self) -> Tensor:
        """What the norm multiplies each channel by, with running statistics: (C,)."""
        return self.weight * (self.running_var + self.eps).rsqrt()


class NormedLayer(nn.Module):
    """A layer and its batch norm in one.

    `weight` and `bias` are those of the folded layer; gradients reach what they are computed from.
    """

    is_traced_as_leaf = True
    norm: FreezableNorm

    @property
    def own(self) -> nn.Conv2d | nn.Linear:
        """The layer without its norm."""
        raise NotImplementedError

    def computed(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """What the layer without its norm computes with another weight and bias."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.own(x))
        return normed

    @property
    def weight(self) -> Tensor:
        return self.own.weight * per_channel(self.norm.factor(), self.own.weight)

    @property
    def bias(self) -> Tensor:
        own = 0.0 if self.own.bias is None else self.own.bias
        return self.norm.bias + (own - self.norm.running_mean) * self.norm.factor()

    @property
    def mask(self) -> Tensor | None:
        """The layer's own: a weight that is zero is zero when it is folded."""
        return mask_of(self.own)

    @torch.no_grad()
    def folded(self) -> nn.Conv2d | nn.Linear:
        """The layer that computes the same with running statistics."""
        made = copy.deepcopy(self.own)
        made.weight = nn.Parameter(self.weight.clone())
        made.bias = nn.Parameter(self.bias.clone())
        return made


class NormedConv2d(NormedLayer):
    """A convolution and its batch norm: (N, C, H, W) -> (N, out, H', W')."""

    def __init__(self, conv: nn.Conv2d, norm: BatchNorm) -> None:
        super().__init__()
        self.conv, self.norm = copy.deepcopy(conv), FreezableNorm.of(norm)

    @property
    def own(self) -> nn.Conv2d:
        return self.conv

    def computed(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return convolved(self.conv, x, weight, bias)


class NormedLinear(NormedLayer):
    """A linear layer and its batch norm: (N, in) -> (N, out)."""

    def __init__(self, linear: nn.Linear, norm: BatchNorm) -> None:
        super().__init__()
        self.linear, self.norm = copy.deepcopy(linear), FreezableNorm.of(norm)

    @property
    def own(self) -> nn.Linear:
        return self.linear

    def computed(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)


def normed(layer: nn.Conv2d | nn.Linear, norm: BatchNorm) -> NormedLayer:
    """A layer with the batch norm behind it, which stays alive."""
    return NormedConv2d(layer, norm) if isinstance(layer, nn.Conv2d) else NormedLinear(layer, norm)


class QuantizedNormedLayer(QuantizedLayer):
    """A quantized layer whose batch norm is alive. `scales` are the steps of the layer's own weight.

    Where the norm's factor is negative the own weight is negated first, so that its codes are the folded weight's.
    """

    layer: NormedLayer  # type: ignore[assignment]
    shipped: ClassVar[type[QuantizedLayer]]

    def forward(self, x: Tensor) -> Tensor:
        layer, norm = self.layer, self.layer.norm
        if not norm.training:
            return layer.computed(x, *self.quantized())
        normed: Tensor = norm(layer.computed(x, self._own_on_grid(), layer.own.bias))
        return normed

    def _floor(self) -> Tensor:
        if not self._rounding.of_channels:
            return super()._floor()
        return torch.full_like(self.scales, SMALLEST_SCALE)  # the bias is that of the folded layer

    def _signs(self) -> Tensor:
        signs = torch.where(self.layer.norm.weight.detach() < 0, -1.0, 1.0)
        return per_channel(signs, self.layer.own.weight)

    def _own_weight(self) -> Tensor:
        return self._upright() if self._rounding.of_channels else self.layer.weight

    def _upright(self) -> Tensor:
        return self.layer.own.weight * self._signs()

    def _own_on_grid(self) -> Tensor:
        if self._rounding.of_channels:
            return self._on_grid(self._upright(), self._trained_scales()) * self._signs()
        weight, factor = self.layer.own.weight, self.layer.norm.factor().detach()
        factor = torch.where(factor.abs() < LEAST_FACTOR, LEAST_FACTOR, factor)
        return self._on_grid(weight * per_channel(factor, weight), self._trained_scales()) / per_channel(factor, weight)

    def _folded_scales(self) -> Tensor:
        """The steps of the folded weight; gradients reach learned steps and the norm's weight."""
        if not self._rounding.of_channels:
            return self._trained_scales()
        return torch.maximum(self._trained_scales() * self.layer.norm.factor().abs(), super()._floor())

    def quantized(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the folded layer on their grids, gradients straight through."""
        scales = self._folded_scales()
        return self._on_grid(self.layer.weight, scales), self._rounded_bias(scales)

    @torch.no_grad()
    def folded(self) -> QuantizedLayer:
        """The layer that is shipped: the same codes, scales and bias, without a norm."""
        made = self.shipped(self.layer.folded(), self.format, self._source[0], learned=self.learned)
        made._set_grid(self._grid(self._folded_scales()))
        return made


class QuantizedNormedConv2d(QuantizedNormedLayer):
    """A quantized convolution and its batch norm: (N, C, H, W) -> (N, out, H', W')."""

    shipped = QuantizedConv2d


class QuantizedNormedLinear(QuantizedNormedLayer):
    """A quantized linear layer and its batch norm: (N, in) -> (N, out)."""

    shipped = QuantizedLinear


def freeze_norms(network: nn.Module, on: bool) -> None:
    """Freeze or thaw every batch norm that can be."""
    for child in network.modules():
        if isinstance(child, FreezableNorm) and child.is_frozen != on:
            child.freeze(on)


def fold_norms(network: nn.Module) -> nn.Module:
    """The network with every living batch norm folded, in place."""
    assert isinstance(network, fx.GraphModule)
    for node in network.graph.find_nodes(op="call_module"):
        layer = network.get_submodule(str(node.target))
        if isinstance(layer, NormedLayer | QuantizedNormedLayer):
            network.set_submodule(str(node.target), layer.folded().train(layer.training))
    return network
