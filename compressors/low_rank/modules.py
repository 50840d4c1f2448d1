"""A factored layer in a network: its factors in order, at the layer's place."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.utils import skip_init

from compressors.low_rank.factoring import Factoring
from compressors.low_rank.factors import METHODS, Ranks, Shape
from compressors.low_rank.numerics import DECOMPOSITIONS, Array
from compressors.support import (
    Unsupported,
    check_floats,
    check_no_hooks,
    check_own_type,
    check_sizes,
    memory_format_of,
    refuse,
)

Layer = nn.Conv2d | nn.Linear


class Factored(nn.Sequential):
    """The factors of a layer, `0`, `1`, ... All but the last have a bias that begins at 0; the last has the layer's."""


def shape_of(path: str, layer: nn.Module) -> Shape:
    """The shape of a layer that can be factored. Raises Unsupported, with the attribute, for any other."""
    check_own_type(path, layer, (nn.Conv2d, nn.Linear), "factor")
    assert isinstance(layer, Layer)
    check_no_hooks(path, layer)
    check_floats(path, layer, (torch.float32, torch.float64))
    check_sizes(path, layer)
    if isinstance(layer, nn.Linear):
        return Shape(layer.in_features, layer.out_features, is_linear=True)
    if layer.groups > 1:
        raise refuse(path, layer, "groups", layer.groups, "1: a layer of one filter per channel has no rank to reduce")
    kernel, stride = _pair(layer.kernel_size), _pair(layer.stride)
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise refuse(path, layer, "padding", f"{layer.padding!r} with {layer.padding_mode}", "numbers of zero pixels")
    if any(pad and side == 1 for pad, side in zip(_pair(layer.padding), kernel, strict=True)):
        raise refuse(path, layer, "padding", layer.padding, "none along a side of one pixel")
    if _pair(layer.dilation) != (1, 1):
        raise refuse(path, layer, "dilation", layer.dilation, "(1, 1)")
    return Shape(layer.in_channels, layer.out_channels, kernel, stride)


def weight_of(layer: nn.Module) -> Array:
    """The weight in float64: equal weights are factored equally, wherever and in whatever type they were trained."""
    assert isinstance(layer, Layer)
    return np.asarray(layer.weight.detach().cpu().double().numpy())


def factored(path: str, layer: nn.Module, asked: Factoring, ranks: Ranks) -> Factored:
    """The layer as a chain of factors; what they compute in turn is the layer, but for the ranks that are left out."""
    shape = shape_of(path, layer)
    assert isinstance(layer, Layer)
    method = METHODS[asked.method]
    if not method.fits(shape):
        raise Unsupported(f"cannot factor {path} ({type(layer).__name__}) by {asked.method}: it has no k x k kernel")
    weights = DECOMPOSITIONS[asked.method].weights(weight_of(layer), ranks)
    factors = [_factor(layer, factor) for factor in method.factors(shape, ranks)]
    for factor, weight in zip(factors, weights, strict=True):
        made = torch.from_numpy(np.ascontiguousarray(weight)).to(layer.weight)
        factor.weight.data = made.contiguous(memory_format=memory_format_of(layer.weight))
        assert factor.bias is not None
        factor.bias.data = torch.zeros(len(weight)).to(layer.weight)
    factors[-1].bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
    return Factored(*factors).train(layer.training)


def _factor(layer: Layer, shape: Shape) -> Layer:
    """A layer of this shape, not initialized; each side of the kernel pads as the original does along it."""
    if shape.is_linear:
        return skip_init(nn.Linear, shape.inputs, shape.outputs)  # type: ignore[no-any-return,no-untyped-call]
    assert isinstance(layer, nn.Conv2d)
    (down, right), (height, width) = _pair(layer.padding), shape.kernel
    padding = (down if height > 1 else 0, right if width > 1 else 0)
    groups = shape.inputs if shape.is_depthwise else 1
    return skip_init(  # type: ignore[no-any-return,no-untyped-call]
        nn.Conv2d, shape.inputs, shape.outputs, shape.kernel, shape.stride, padding, groups=groups
    )


def _pair(value: object) -> tuple[int, int]:
    assert isinstance(value, tuple)
    height, width = value
    return int(height), int(width)
