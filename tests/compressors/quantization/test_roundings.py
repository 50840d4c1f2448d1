"""Every row of ROUNDINGS, by the formats that have it: values, codes, gradients, and batch norm alive beside it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compressors.formats import FORMATS, STEPPED
from compressors.quantization.activations import ActivationQuantizer
from compressors.quantization.modules import QuantizedConv2d, QuantizedLinear, refresh_scales
from compressors.quantization.normed import NormedConv2d, QuantizedNormedConv2d, freeze_norms
from compressors.quantization.numerics import PackedWeight
from compressors.quantization.roundings import ROUNDINGS

torch.set_num_threads(1)

INTEGERS = [name for name, row in FORMATS.items() if not row.is_float]


def values_of(packed: PackedWeight) -> Tensor:
    """What PackedWeight's own words say."""
    entries = packed.codes if packed.codebook is None else packed.codebook[packed.codes.long()]
    shape = (-1, *(1,) * (packed.codes.dim() - 1))
    zeros = 0 if packed.zero_points is None else packed.zero_points.reshape(shape).float()
    return (entries.float() - zeros) * packed.scales.reshape(shape)


def conv(seed: int = 0) -> nn.Conv2d:
    torch.manual_seed(seed)
    return nn.Conv2d(6, 8, 3, padding=1, groups=2)


def quantized(name: str, *, learned: bool = False) -> QuantizedConv2d:
    return QuantizedConv2d(conv(), name, ActivationQuantizer(fixed=(1 / 255, 0)), learned=learned)


def normed(name: str, *, learned: bool = False) -> QuantizedNormedConv2d:
    own, norm = conv(), nn.BatchNorm2d(8)
    for tensor in (norm.weight.data, norm.bias.data):
        tensor.normal_(generator=torch.Generator().manual_seed(1))
    assert norm.running_var is not None
    norm.running_var.uniform_(0.1, 4, generator=torch.Generator().manual_seed(2))
    source = ActivationQuantizer(fixed=(1 / 255, 0))
    return QuantizedNormedConv2d(NormedConv2d(own, norm), name, source, learned=learned)


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(3))


def test_formats_name_rows_and_know_which_have_steps() -> None:
    assert {row.rounding for row in FORMATS.values()} == set(ROUNDINGS)
    assert {name for name, row in ROUNDINGS.items() if row.learned is not None} == set(STEPPED)


@pytest.mark.parametrize("name", INTEGERS)
def test_what_is_packed_is_what_is_computed(name: str) -> None:
    for layer in (quantized(name), QuantizedLinear(nn.Linear(30, 7), name, ActivationQuantizer(fixed=(0.1, 3)))):
        packed, (weight, bias) = layer.packed(), layer.quantized()
        torch.testing.assert_close(values_of(packed), weight.detach())
        torch.testing.assert_close(packed.bias_codes * packed.input_scale * packed.scales, bias.detach())
        assert set(packed.codes.flatten().tolist()) <= set(layer.format.codes)
        own = layer.layer.weight.detach()
        error = float((weight.detach() - own).square().mean() / own.square().mean())
        assert error < (0.5 if layer.format.bits < 3 else 0.1)


@pytest.mark.parametrize("name", INTEGERS)
def test_the_same_weights_give_the_same_grid(name: str) -> None:
    first, second = quantized(name).packed().tensors(), quantized(name).packed().tensors()
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())


@pytest.mark.parametrize("name", INTEGERS)
def test_gradients_reach_the_weights_and_what_is_trained_beside_them(name: str) -> None:
    layer = quantized(name, learned=FORMATS[name].trains_steps).train()
    layer(images(2, 6, 5, 5)).square().sum().backward()
    assert {key for key, parameter in layer.named_parameters() if parameter.grad is not None} == {
        key for key, _ in layer.named_parameters()
    }
    gradient = layer.layer.weight.grad
    assert gradient is not None
    assert float((gradient != 0).float().mean()) > 0.3
    assert (layer.entries is not None) == FORMATS[name].has_codebook


@pytest.mark.parametrize("name", INTEGERS)
def test_a_fitted_grid_follows_its_weights_and_a_trained_one_stays(name: str) -> None:
    layer = quantized(name, learned=FORMATS[name].trains_steps)
    before = {key: tensor.clone() for key, tensor in layer.packed().tensors().items()}
    with torch.no_grad():
        layer.layer.weight *= 4
    refresh_scales(layer, learned=False)
    after = layer.packed()
    assert torch.equal(after.scales, before["scales"]) == layer.trains_its_grid
    refresh_scales(layer)
    torch.testing.assert_close(values_of(layer.packed()), 4 * values_of(quantized(name).packed()))


@pytest.mark.parametrize("name", INTEGERS)
def test_frozen_batch_norm_computes_what_is_shipped(name: str) -> None:
    layer, x = normed(name, learned=FORMATS[name].trains_steps).train(), images(3, 6, 7, 7)
    freeze_norms(layer, True)
    expected, shipped = layer(x).detach(), layer.folded().eval()
    torch.testing.assert_close(shipped(x), expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(layer.eval()(x), expected, rtol=0, atol=2e-5)
    packed = shipped.packed()
    torch.testing.assert_close(values_of(packed), shipped.quantized()[0].detach())
    if FORMATS[name].has_codebook:
        assert len(values_of(packed).unique()) <= 2 ** FORMATS[name].bits  # for all channels together


@pytest.mark.parametrize("name", [name for name in INTEGERS if not FORMATS[name].has_codebook])
def test_alive_batch_norm_sees_the_weight_that_will_be_shipped(name: str) -> None:
    """With the batch's statistics for the running ones it computes the same: rounding does not move with them."""
    layer, x = normed(name, learned=FORMATS[name].trains_steps).train(), images(64, 6, 7, 7)
    norm = layer.layer.norm
    norm.momentum = 1.0
    for _ in range(20):
        layer(x)  # the running statistics become the batch's
        layer.refresh_scales()
    alive = layer(x).detach()
    freeze_norms(layer, True)
    assert float((layer(x).detach() - alive).abs().max()) < 0.02 * float(alive.std()) + 5e-3


@pytest.mark.parametrize("name", ["codebook2", "codebook4"])
def test_a_codebook_too_coarse_for_a_channel_does_not_push_its_statistics_to_infinity(name: str) -> None:
    """Entries belong to the layer: a channel that none of them fits is scaled by its norm, again and again."""
    layer, x = normed(name).train(), images(16, 6, 7, 7)
    assert layer.entries is not None
    layer.entries.data.mul_(30)
    layer.layer.norm.momentum = 0.9
    for _ in range(60):
        layer(x)
    layer(x).square().sum().backward()
    freeze_norms(layer, True)
    assert bool(torch.isfinite(layer(x)).all())
    assert all(bool(torch.isfinite(p.grad).all()) for p in layer.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", INTEGERS)
def test_channels_that_are_dead_or_switched_off_stay_finite(name: str) -> None:
    layer = normed(name, learned=FORMATS[name].trains_steps).train()
    layer.layer.norm.weight.data[3] = 0.0
    layer.layer.conv.weight.data[5] = 0.0
    layer.refresh_scales()
    for is_frozen in (False, True):
        freeze_norms(layer, is_frozen)
        out = layer(images(3, 6, 7, 7))
        assert bool(torch.isfinite(out).all())
        out.square().sum().backward()
    packed = layer.folded().packed()
    assert bool(torch.isfinite(values_of(packed)).all())
    assert all(bool(torch.isfinite(p.grad).all()) for p in layer.parameters() if p.grad is not None)
