"""Costs of a layer against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from search_spaces.layers import LayerSpec, downsampled


@pytest.mark.parametrize(("size", "stride", "expected"), [(8, 1, 8), (8, 2, 4), (7, 2, 4), (1, 2, 1)])
def test_downsampled(size: int, stride: int, expected: int) -> None:
    assert downsampled(size, stride) == expected


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize(("size", "stride"), [(8, 1), (8, 2), (7, 2), (9, 2)])
def test_downsampled_is_what_a_padded_convolution_gives(kernel: int, size: int, stride: int) -> None:
    conv = nn.Conv2d(1, 1, kernel, stride, kernel // 2)
    assert conv(torch.zeros(1, 1, size, size)).shape[-1] == downsampled(size, stride)


@pytest.mark.parametrize(
    ("layer", "weights", "pixels"),
    [
        (LayerSpec("a", "b", "conv", 3, 8, 3, 2, 8, 4), 8 * 3 * 9, 16),
        (LayerSpec("a", "b", "depthwise", 8, 8, 5, 1, 4, 4), 8 * 25, 16),
        (LayerSpec("a", "b", "pointwise", 8, 16, 1, 1, 2, 2), 8 * 16, 4),
        (LayerSpec("a", "b", "linear", 16, 10), 16 * 10, 1),
    ],
    ids=lambda value: value.kind if isinstance(value, LayerSpec) else None,
)
def test_costs_in_closed_form(layer: LayerSpec, weights: int, pixels: int) -> None:
    """One bias per output channel; one multiply-accumulate per weight and output pixel."""
    assert layer.weight_count == weights
    assert layer.parameters == weights + layer.out_channels
    assert layer.macs == weights * pixels
