"""Batch norm that stays alive in quantization-aware training, and is folded when that is over.

Jacob et al. 2018 (arXiv:1712.05877) and Krishnamoorthi 2018 (arXiv:1806.08342) quantize the folded weight
w * gamma / sigma and correct for the difference between the batch's sigma and the running one. With a scale per output
channel no correction is needed: rounding the folded weight to steps gamma / sigma * s is rounding w to steps s, so the
convolution's own weight is rounded and batch norm follows as ever. Where channels cannot have scales of their own, as
with a codebook or powers of two, the weight folded with running statistics is rounded, and divided again by what it was
multiplied by. Towards the end statistics are frozen; from then on the layer computes as the folded one that is shipped.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn

from compressors.masking.layers import mask_of
from compressors.quantization.modules import SMALLEST_SCALE, QuantizedConv2d, convolved
from compressors.quantization.numerics import per_channel

LEAST_FACTOR = 1e-6  # of a norm, to divide by


class FreezableNorm(nn.BatchNorm2d):
    """A batch norm that, while frozen, uses its running statistics in training as well, and leaves them alone."""

    running_mean: Tensor
    running_var: Tensor
    is_frozen = False

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> FreezableNorm:
        """A copy of `norm`; scale and shift of one that has none are 1 and 0, and stay so."""
        made = cls(norm.num_features, norm.eps, norm.momentum)
        made.load_state_dict(norm.state_dict(), strict=norm.affine)
        made.requires_grad_(norm.affine)
        like = norm.running_mean
        return made if like is None else made.to(like.device)

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


class NormedConv2d(nn.Module):
    """A convolution and its batch norm in one: (N, C, H, W) -> (N, out, H', W').

    `weight` and `bias` are those of the folded convolution; gradients reach what they are computed from.
    """

    is_traced_as_leaf = True

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv, self.norm = copy.deepcopy(conv), FreezableNorm.of(norm)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.conv(x))
        return normed

    @property
    def weight(self) -> Tensor:
        return self.conv.weight * per_channel(self.norm.factor(), self.conv.weight)

    @property
    def bias(self) -> Tensor:
        own = 0.0 if self.conv.bias is None else self.conv.bias
        return self.norm.bias + (own - self.norm.running_mean) * self.norm.factor()

    @property
    def mask(self) -> Tensor | None:
        """The convolution's own: a weight that is zero is zero when it is folded."""
        return mask_of(self.conv)

    @torch.no_grad()
    def folded(self) -> nn.Conv2d:
        """The convolution that computes the same with running statistics."""
        made = copy.deepcopy(self.conv)
        made.weight = nn.Parameter(self.weight.clone())
        made.bias = nn.Parameter(self.bias.clone())
        return made


class QuantizedNormedConv2d(QuantizedConv2d):
    """A quantized convolution whose batch norm is alive. `scales` are the steps of the convolution's own weight.

    Where the norm's factor is negative the own weight is negated first, so that its codes are the folded weight's.
    """

    layer: NormedConv2d  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self.layer.conv, self.layer.norm
        if not norm.training:
            return convolved(conv, x, *self.quantized())
        normed: Tensor = norm(convolved(conv, x, self._own_on_grid(), conv.bias))
        return normed

    def _floor(self) -> Tensor:
        if not self._rounding.of_channels:
            return super()._floor()
        return torch.full_like(self.scales, SMALLEST_SCALE)  # the bias is that of the folded layer

    def _signs(self) -> Tensor:
        signs = torch.where(self.layer.norm.weight.detach() < 0, -1.0, 1.0)
        return per_channel(signs, self.layer.conv.weight)

    def _own_weight(self) -> Tensor:
        return self._upright() if self._rounding.of_channels else self.layer.weight

    def _upright(self) -> Tensor:
        return self.layer.conv.weight * self._signs()

    def _own_on_grid(self) -> Tensor:
        if self._rounding.of_channels:
            return self._on_grid(self._upright(), self._trained_scales()) * self._signs()
        weight, factor = self.layer.conv.weight, self.layer.norm.factor().detach()
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
    def folded(self) -> QuantizedConv2d:
        """The layer that is shipped: the same codes, scales and bias, without a norm."""
        made = QuantizedConv2d(self.layer.folded(), self.format, self._source[0], learned=self.learned)
        made._set_grid(self._grid(self._folded_scales()))
        return made


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
        if isinstance(layer, NormedConv2d | QuantizedNormedConv2d):
            network.set_submodule(str(node.target), layer.folded().train(layer.training))
    return network
