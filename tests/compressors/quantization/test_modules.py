"""Quantized modules: what is packed is what forward uses, and ranges, biases and gradients, by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from compressors.formats import FORMATS, Format, integer_codes
from compressors.quantization.activations import ActivationQuantizer
from compressors.quantization.modules import QuantizedConv2d, QuantizedLinear, refresh_scales
from compressors.quantization.numerics import mse_scales

torch.set_num_threads(1)

WIDTHS = (8, 6, 4, 3, 2)


def random_weight(seed: int, *shape: int) -> Tensor:
    """Channels of different size, most weights small, a few large."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(*shape, generator=generator) ** 3
    size = torch.empty(shape[0]).uniform_(-4, 1, generator=generator).exp()
    return weight * size.reshape(-1, *(1,) * (len(shape) - 1))


def conv_layer(seed: int, *, bits: int, scale: float = 0.02) -> QuantizedConv2d:
    conv = nn.Conv2d(6, 5, 3, stride=2, padding=1)
    conv.weight.data = random_weight(seed, 5, 6, 3, 3)
    conv.bias.data = random_weight(seed + 1, 5)
    return QuantizedConv2d(conv, f"int{bits}", ActivationQuantizer(fixed=(scale, 3)))


def linear_layer(seed: int, *, bits: int, scale: float = 0.02) -> QuantizedLinear:
    linear = nn.Linear(7, 4)
    linear.weight.data = random_weight(seed, 4, 7)
    linear.bias.data = random_weight(seed + 1, 4)
    return QuantizedLinear(linear, f"int{bits}", ActivationQuantizer(fixed=(scale, 0)))


# Quantized layers.

layers = st.tuples(st.sampled_from([conv_layer, linear_layer]), st.integers(0, 2**16), st.sampled_from(WIDTHS))


@given(layers, st.floats(1e-4, 10))
def test_packed_is_what_forward_uses_bit_by_bit(chosen: tuple, scale: float) -> None:  # type: ignore[type-arg]
    make, seed, bits = chosen
    layer = make(seed, bits=bits, scale=scale)
    packed, (weight, bias) = layer.packed(), layer.quantized()
    low, high = integer_codes(bits)[0], integer_codes(bits)[-1]
    assert (packed.codes.dtype, packed.bias_codes.dtype, packed.format) == (torch.int8, torch.int32, f"int{bits}")
    assert low <= int(packed.codes.min()) <= int(packed.codes.max()) <= high
    scales = packed.scales.reshape(-1, *(1,) * (weight.dim() - 1))
    assert torch.equal(packed.codes.float() * scales, weight)
    step = torch.tensor(packed.input_scale) * packed.scales
    assert torch.equal(packed.bias_codes.float() * step, bias)


@given(st.integers(0, 2**16), st.sampled_from([8, 4]))
def test_packed_agrees_with_forward_at_ties_too(seed: int, bits: int) -> None:
    """Weights half way between two codes: whether one divides or multiplies by the inverse decides there."""
    low, high = integer_codes(bits)[0], integer_codes(bits)[-1]
    linear = nn.Linear(high - low, 64)
    layer = QuantizedLinear(linear, f"int{bits}", ActivationQuantizer(fixed=(0.02, 0)))
    layer.scales.uniform_(1e-3, 1e-1, generator=torch.Generator().manual_seed(seed))
    linear.weight.data = (torch.arange(low, high) + 0.5) * layer.scales[:, None]
    packed = layer.packed()
    assert torch.equal(packed.codes.float() * packed.scales[:, None], layer.quantized()[0])


@given(layers)
def test_rounding_is_to_the_nearest_code(chosen: tuple) -> None:  # type: ignore[type-arg]
    """Inside the clipping range no weight moves by more than half a step, and no bias ever does."""
    make, seed, bits = chosen
    layer = make(seed, bits=bits)
    low, high = integer_codes(bits)[0], integer_codes(bits)[-1]
    weight, bias = layer.quantized()
    steps = (layer.layer.weight / layer.scales.reshape(-1, *(1,) * (weight.dim() - 1))).detach()
    moved = (weight / layer.scales.reshape(-1, *(1,) * (weight.dim() - 1)) - steps).detach().abs()
    inside = (steps >= low) & (steps <= high)
    assert float(moved[inside].max()) <= 0.5 + 1e-4
    bias_step = layer.input_scale * layer.scales
    assert bool(((bias - layer.bias).abs() <= bias_step * 0.5 + 1e-6 * bias.abs()).all())


@pytest.mark.parametrize("bits", [8, 4])
def test_forward_is_the_layer_with_the_packed_numbers(bits: int) -> None:
    x = torch.rand(2, 6, 9, 9, generator=torch.Generator().manual_seed(0))
    layer = conv_layer(0, bits=bits)
    weight, bias = layer.quantized()
    assert torch.equal(layer(x), F.conv2d(x, weight, bias, stride=2, padding=1))
    linear = linear_layer(0, bits=bits)
    assert torch.equal(linear(x[0, 0, :4, :7]), F.linear(x[0, 0, :4, :7], *linear.quantized()))


def test_a_depthwise_layer_stays_depthwise() -> None:
    conv = nn.Conv2d(4, 4, 5, padding=2, groups=4)
    layer = QuantizedConv2d(conv, "int8", ActivationQuantizer(fixed=(0.01, 0)))
    x = torch.rand(1, 4, 6, 6)
    assert layer.scales.shape == (4,)
    assert torch.allclose(layer(x), conv(x), atol=0.02)


def test_gradients_reach_weight_and_bias() -> None:
    layer = linear_layer(2, bits=4)
    layer.scales *= 0.4
    x = torch.rand(3, 7, generator=torch.Generator().manual_seed(0))
    layer(x).sum().backward()
    steps = (layer.layer.weight / layer.scales[:, None]).detach()
    inside = (steps.round() >= -8) & (steps.round() <= 7)
    assert 0 < int(inside.sum()) < inside.numel(), "the test needs clipped and unclipped weights"
    assert torch.equal(layer.layer.weight.grad, x.sum(0).expand(4, 7) * inside)
    assert torch.equal(layer.bias.grad, torch.full((4,), 3.0))


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("size", [0.0, 1e-44, 1e-38, 1e-25, 1e-12])
def test_the_bias_of_a_dead_channel_fits_and_survives(size: float, bits: int) -> None:
    layer = linear_layer(0, bits=bits)
    layer.layer.weight.data[1] = size
    layer.bias.data[1] = -5.0
    layer.refresh_scales()
    packed, weight, bias = layer.packed(), *(tensor.detach() for tensor in layer.quantized())
    assert packed.bias_codes[1] < 0
    assert abs(int(packed.bias_codes[1])) <= 2**30 + 2**8
    assert float(bias[1]) == pytest.approx(-5.0, abs=0.02 / 2)
    assert float(weight[1].abs().max()) <= 1e-8
    assert bool(torch.isfinite(layer(torch.rand(2, 7))).all())


@pytest.mark.parametrize("size", [0.0, 1e-44])
def test_a_channel_of_nothing_gives_nothing(size: float) -> None:
    layer = linear_layer(0, bits=8)
    layer.layer.weight.data[1] = size
    layer.bias.data[1] = 0.0
    layer.refresh_scales()
    assert layer(torch.rand(3, 7))[:, 1].tolist() == [0.0, 0.0, 0.0]
    packed = layer.packed()
    assert (int(packed.codes[1].abs().max()), int(packed.bias_codes[1])) == (0, 0)


def test_a_layer_without_bias_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a bias"):
        QuantizedConv2d(nn.Conv2d(1, 1, 1, bias=False), "int8", ActivationQuantizer())


def test_scales_follow_the_weights_only_when_asked() -> None:
    network = nn.Sequential(linear_layer(0, bits=4))
    before = network[0].scales.clone()
    network[0].layer.weight.data *= 2
    assert torch.equal(network[0].scales, before)
    refresh_scales(network)
    assert torch.allclose(network[0].scales, 2 * before)


def test_the_input_scale_is_the_producers_and_not_a_copy() -> None:
    source = ActivationQuantizer()
    layer = QuantizedLinear(nn.Linear(2, 2), "int8", source)
    source.scale.fill_(0.125)
    assert layer.packed().input_scale == 0.125
    assert [name for name in layer.state_dict() if "source" in name] == []


# Learned step sizes.


def learning_layer(bits: int = 3) -> QuantizedConv2d:
    conv = nn.Conv2d(6, 5, 3)
    conv.weight.data = random_weight(3, 5, 6, 3, 3)
    assert conv.bias is not None
    conv.bias.data = random_weight(4, 5)
    return QuantizedConv2d(conv, f"int{bits}", ActivationQuantizer(fixed=(0.02, 3)), learned=True)


def test_training_moves_learned_steps_and_a_refresh_may_leave_them() -> None:
    layer = learning_layer()
    before = layer.scales.detach().clone()
    torch.testing.assert_close(before, mse_scales(layer.layer.weight, integer_codes(3)))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer.train()(torch.rand(2, 6, 8, 8)).square().mean().backward()
    optimizer.step()
    moved = layer.scales.detach().clone()
    assert bool((moved != before).all())
    refresh_scales(layer, learned=False)
    assert torch.equal(layer.scales, moved)
    refresh_scales(layer)
    assert not torch.equal(layer.scales, moved)


@pytest.mark.parametrize("step", [-1.0, 0.0, 1e-9])
def test_a_learned_step_that_fell_to_nothing_goes_on_learning(step: float) -> None:
    layer = learning_layer().train()
    fitted = layer.scales.detach().clone()
    layer.scales.data[0] = step
    layer(torch.rand(2, 6, 8, 8)).square().mean().backward()
    torch.testing.assert_close(layer.scales.detach(), torch.cat([fitted[:1] / 8, fitted[1:]]))
    assert layer.scales.grad is not None
    assert layer.layer.weight.grad is not None
    assert bool((layer.scales.grad != 0).all())
    assert bool(layer.layer.weight.grad[0].any())
    layer.scales.data[0] = step  # by the last step of a training: what is shipped is bounded as well
    assert float(layer.packed().scales[0]) == pytest.approx(float(fitted[0]) / 8)


def test_a_learned_layer_ships_what_it_computes() -> None:
    """Also where training drove a step below what the bias allows, or below zero."""
    layer = learning_layer().eval()
    layer.scales.data[0] = -1.0
    packed = layer.packed()
    weight, _ = layer.quantized()
    assert bool((packed.scales > 0).all())
    torch.testing.assert_close(weight, packed.codes * packed.scales[:, None, None, None])
    assert int(packed.bias_codes.abs().max()) <= 2**30 * 1.001  # the bound is held in single precision


# Formats that no module can have.


@pytest.mark.parametrize(
    ("fmt", "learned", "message"),
    [
        ("fp32", False, "needs a format of integers, got fp32"),
        ("int9", False, "expected one of fp32, int8"),
        ("pow2", True, "learned where a format has some, not for pow2"),
    ],
)
def test_formats_that_a_layer_cannot_have(fmt: Format | str, learned: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QuantizedLinear(nn.Linear(2, 2), fmt, ActivationQuantizer(), learned=learned)


def test_every_integer_format_of_the_table_is_packed_by_name() -> None:
    for name, fmt in FORMATS.items():
        if not fmt.is_float:
            packed = QuantizedLinear(nn.Linear(3, 2), name, ActivationQuantizer(fixed=(0.1, 0))).packed()
            assert packed.format == name
            assert (packed.zero_points is not None) == (name == "int8_asymmetric")
            assert (packed.codebook is not None) == fmt.has_codebook
            assert set(packed.codes.flatten().tolist()) <= set(fmt.codes)
