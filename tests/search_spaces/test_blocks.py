"""Blocks and pixels: torchvision's blocks as oracles, exact 8-bit pixels, combinations that are refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchvision.models import mobilenetv2, mobilenetv3
from torchvision.models.efficientnet import FusedMBConv, FusedMBConvConfig
from torchvision.models.resnet import BasicBlock
from torchvision.models.shufflenetv2 import InvertedResidual as TorchvisionShuffleUnit
from torchvision.models.shufflenetv2 import channel_shuffle

from search_spaces.block_configs import Activation
from search_spaces.blocks import (
    ACTIVATIONS,
    FusedInvertedResidual,
    InvertedResidual,
    Normalize,
    Plain,
    Residual,
    ShuffleUnit,
)

torch.set_num_threads(1)

# Pixels.


@given(mean=st.floats(0, 1), std=st.floats(0.05, 1))
def test_all_pixel_codes_are_exact_on_the_pixel_grid(mean: float, std: float) -> None:
    normalize = Normalize(mean, std)
    scale, zero_point = normalize.pixel_grid()
    codes = torch.arange(256)
    values = normalize(codes / 255)
    assert 0 <= zero_point <= 255
    assert torch.equal((values / scale).round() + zero_point, codes)
    grid = torch.tensor(scale)
    on_grid = torch.fake_quantize_per_tensor_affine(values, grid, torch.tensor(zero_point, dtype=torch.int32), 0, 255)
    assert torch.allclose(on_grid, values, rtol=1e-5, atol=1e-5)
    assert float(values[zero_point]) == 0.0


@given(mean=st.floats(0, 1))
def test_the_mean_is_the_nearest_pixel_value(mean: float) -> None:
    assert abs(float(Normalize(mean, 0.25).mean) - mean) <= 0.5 / 255 + 1e-6


def test_normalize_shifts_and_scales() -> None:
    assert Normalize(51 / 255, 0.5)(torch.tensor([0.2, 1.2])).tolist() == pytest.approx([0.0, 2.0], abs=1e-6)


@pytest.mark.parametrize("std", [0.0, -1.0])
def test_normalize_refuses_a_std_that_is_not_positive(std: float) -> None:
    with pytest.raises(ValueError, match=f"expected a positive number, got {std}"):
        Normalize(0.5, std)


# Blocks.


def same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Random weights and statistics for both, matched by order: the blocks name their layers differently."""
    generator = torch.Generator().manual_seed(0)
    there, here = list(theirs.state_dict().values()), list(ours.state_dict().values())
    assert [tensor.shape for tensor in here] == [tensor.shape for tensor in there]
    for one, other in zip(here, there, strict=True):
        if one.dtype.is_floating_point:
            one.copy_(torch.empty_like(one).uniform_(0.1, 1, generator=generator))
            other.copy_(one)


@pytest.mark.parametrize("expansion", [1, 2, 6])
@pytest.mark.parametrize(("width", "stride"), [(16, 1), (16, 2), (24, 1), (24, 2)])
def test_mobilenet_v2_blocks_of_torchvision_are_ours(expansion: int, width: int, stride: int) -> None:
    theirs = mobilenetv2.InvertedResidual(16, width, stride, expansion).eval()
    ours = InvertedResidual(
        16, width, inner=16 * expansion, kernel=3, stride=stride, activation="relu6", expand=expansion > 1
    ).eval()
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    same_weights(ours, theirs)
    x = torch.rand(2, 16, 7, 7, generator=torch.Generator().manual_seed(1)) - 0.5
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(("squeeze", "activation"), [(True, "hardswish"), (True, "relu"), (False, "hardswish")])
@pytest.mark.parametrize(("width", "stride"), [(16, 1), (24, 2)])
def test_mobilenet_v3_blocks_of_torchvision_are_ours(
    kernel: int, squeeze: bool, activation: Activation, width: int, stride: int
) -> None:
    letters = {"hardswish": "HS", "relu": "RE"}
    config = mobilenetv3.InvertedResidualConfig(
        16, kernel, 64, width, squeeze, letters[activation], stride, dilation=1, width_mult=1.0
    )
    theirs = mobilenetv3.InvertedResidual(config, norm_layer=partial(nn.BatchNorm2d)).eval()
    ours = InvertedResidual(
        16, width, inner=64, kernel=kernel, stride=stride, activation=activation, squeezed=16 if squeeze else 0
    ).eval()
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    same_weights(ours, theirs)
    x = torch.rand(2, 16, 7, 7, generator=torch.Generator().manual_seed(1)) - 0.5
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_without_expansion_the_inner_width_is_the_input_width() -> None:
    with pytest.raises(ValueError, match="inner must be in_channels 16, got 32"):
        InvertedResidual(16, 16, inner=32, kernel=3, stride=1, activation="relu", expand=False)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_activations_are_those_asked_for(activation: Activation) -> None:
    block = InvertedResidual(8, 8, inner=16, kernel=3, stride=1, activation=activation, squeezed=8)
    kind = ACTIVATIONS[activation]
    assert isinstance(block.expand_activation, kind)
    assert isinstance(block.depthwise_activation, kind)
    assert kind is {"relu": nn.ReLU, "relu6": nn.ReLU6, "hardswish": nn.Hardswish}[activation]


def test_the_shuffle_unit_is_the_papers() -> None:
    """Split, work on one half, concatenate, shuffle: with view and transpose, as torchvision writes it."""
    torch.manual_seed(0)
    ours = [ShuffleUnit(16, 16, inner=8, kernel=3, stride=1, activation="relu").eval() for _ in range(3)]
    theirs = [TorchvisionShuffleUnit(16, 16, 1).eval() for _ in range(3)]
    for unit, other in zip(ours, theirs, strict=True):
        convs = [unit.expand, unit.expand_bn, unit.depthwise, unit.depthwise_bn, unit.project, unit.project_bn]
        sources = [m for m in other.branch2 if not isinstance(m, nn.ReLU)]
        for own, source in zip(convs, sources, strict=True):
            own.load_state_dict(source.state_dict())
    x = torch.rand(2, 16, 4, 4)
    with torch.no_grad():
        own, expected = x, channel_shuffle(x, 2)  # theirs shuffles behind a unit, ours before
        for unit, block in zip(ours, theirs, strict=True):
            own, expected = unit(own), block(expected)
        torch.testing.assert_close(channel_shuffle(own, 2), expected)


def test_training_takes_the_same_halves() -> None:
    unit = ShuffleUnit(12, 12, inner=8, kernel=3, stride=1, activation="relu")
    x = torch.rand(2, 12, 5, 4).contiguous(memory_format=torch.channels_last)
    traced, trained = unit.eval().halves(x), unit.train().halves(x)
    assert all(torch.equal(one, other) for one, other in zip(traced, trained, strict=True))


def test_the_residual_block_is_the_papers() -> None:
    torch.manual_seed(0)
    shortcut = nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
    theirs = BasicBlock(8, 16, 2, shortcut).eval()
    ours = Residual(8, 16, inner=16, kernel=3, stride=2, activation="relu").eval()
    names = {"conv1": "conv1", "conv1_bn": "bn1", "conv2": "conv2", "conv2_bn": "bn2"}
    for own, source in {**names, "shortcut": "downsample.0", "shortcut_bn": "downsample.1"}.items():
        ours.get_submodule(own).load_state_dict(theirs.get_submodule(source).state_dict())
    x = torch.rand(2, 8, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_the_fused_block_is_the_papers() -> None:
    torch.manual_seed(0)
    config = FusedMBConvConfig(2, 3, 1, 8, 8, 1)
    theirs = FusedMBConv(config, 0.0, partial(nn.BatchNorm2d, eps=1e-5)).eval()
    ours = FusedInvertedResidual(8, 8, inner=16, kernel=3, stride=1, activation="relu").eval()
    for module in theirs.modules():
        if isinstance(module, nn.SiLU):
            module.forward = nn.functional.relu  # type: ignore[method-assign]
    sources = {"expand": "0.0", "expand_bn": "0.1", "project": "1.0", "project_bn": "1.1"}
    for own, source in sources.items():
        ours.get_submodule(own).load_state_dict(theirs.block.get_submodule(source).state_dict())
    x = torch.rand(2, 8, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_a_unit_needs_an_even_width() -> None:
    with pytest.raises(ValueError, match="even number, got 7"):
        ShuffleUnit(8, 7, inner=4, kernel=3, stride=1, activation="relu")


def test_a_plain_block_is_a_convolution_a_norm_and_an_activation() -> None:
    ours = Plain(8, 16, inner=16, kernel=5, stride=2, activation="relu6").eval()
    theirs = nn.Sequential(nn.Conv2d(8, 16, 5, 2, 2, bias=False), nn.BatchNorm2d(16), nn.ReLU6()).eval()
    same_weights(ours, theirs)
    x = torch.rand(2, 8, 7, 7, generator=torch.Generator().manual_seed(1)) - 0.5
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


def test_a_plain_block_has_no_inner_width() -> None:
    with pytest.raises(ValueError, match="no inner width: expected out_channels 16, got 8"):
        Plain(8, 16, inner=8, kernel=3, stride=1, activation="relu")
