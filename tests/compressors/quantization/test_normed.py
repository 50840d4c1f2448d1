"""Batch norm alive in quantized layers: what it computes while it follows batches, frozen, and folded."""

from __future__ import annotations

from typing import TypeVar

import pytest
import torch
from torch import Tensor, fx, nn

from compressors.batch_norm import estimate_batch_norm
from compressors.folding import fold_batch_norm
from compressors.quantization import calibrate, prepare
from compressors.quantization.activations import ActivationQuantizer
from compressors.quantization.modules import QuantizedConv2d, QuantizedLinear
from compressors.quantization.normed import (
    FreezableNorm,
    NormedConv2d,
    NormedLinear,
    QuantizedNormedConv2d,
    QuantizedNormedLinear,
    fold_norms,
    freeze_norms,
)
from compressors.quantization.numerics import mse_scales, nearest_codes, per_channel

torch.set_num_threads(1)
Norm = TypeVar("Norm", nn.BatchNorm1d, nn.BatchNorm2d)


def randomised(norm: Norm, seed: int) -> Norm:
    random = torch.Generator().manual_seed(seed)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
        assert tensor is not None
        tensor.normal_(generator=random)
    assert norm.running_var is not None
    norm.running_var.uniform_(0.1, 4, generator=random)
    return norm


def pair(seed: int = 0, *, bias: bool = False) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    torch.manual_seed(seed)
    norm = randomised(nn.BatchNorm2d(8), seed)
    assert float(norm.weight.min()) < 0 < float(norm.weight.max())  # signs matter
    return nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2, bias=bias), norm


def images(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def quantized(fmt: str, *, learned: bool = False, bias: bool = False) -> QuantizedNormedConv2d:
    source = ActivationQuantizer(fixed=(1 / 255, 0))
    return QuantizedNormedConv2d(NormedConv2d(*pair(bias=bias)), fmt, source, learned=learned)


class Net(nn.Module):
    """A quantized branch, a float one, a sum and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(3, 8, 3, bias=False), randomised(nn.BatchNorm2d(8), 1)
        self.second, self.second_norm = nn.Conv2d(8, 8, 1, bias=False), randomised(nn.BatchNorm2d(8), 2)
        self.other, self.other_norm = nn.Conv2d(8, 8, 1, bias=False), randomised(nn.BatchNorm2d(8), 3)
        self.relu, self.pool, self.last = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first_norm(self.first(x)))
        x = self.relu(self.second_norm(self.second(x)) + self.other_norm(self.other(x)))
        return self.last(torch.flatten(self.pool(x), 1))  # type: ignore[no-any-return]


FORMATS = {"first": "int8", "second": "int4", "last": "int8"}


def net(*, keep_norms: bool, learned: tuple[str, ...] = ()) -> fx.GraphModule:
    torch.manual_seed(0)
    network = prepare(Net(), FORMATS, keep_norms=keep_norms, learned=learned)
    calibrate(network, [images(1, 16, 3, 8, 8)])
    return network


def types_of(network: fx.GraphModule) -> dict[str, type]:
    return {name: type(module) for name, module in network.named_modules() if name}


@pytest.mark.parametrize("bias", [False, True])
def test_folded_weight_and_bias_are_those_of_a_fused_convolution(bias: bool) -> None:
    conv, norm = pair(bias=bias)
    fused = torch.nn.utils.fusion.fuse_conv_bn_eval(conv.eval(), norm.eval())
    normed = NormedConv2d(conv, norm)
    folded = normed.folded()
    assert fused.bias is not None
    assert folded.bias is not None
    torch.testing.assert_close(folded.weight, fused.weight)
    torch.testing.assert_close(folded.bias, fused.bias)
    x = images(1, 2, 4, 9, 9)
    torch.testing.assert_close(normed.eval()(x), folded(x))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("fmt", ["int8", "int4", "int2"])
def test_alive_it_is_batch_norm_behind_a_rounded_weight(fmt: str, bias: bool) -> None:
    layer, (conv, norm) = quantized(fmt, bias=bias).train(), pair(bias=bias)
    x = images(1, 3, 4, 9, 9)
    signs = per_channel(norm.weight.detach().sign(), conv.weight)
    upright, codes = conv.weight.detach() * signs, layer.format.codes
    scales = mse_scales(upright, codes)
    conv.weight.data = nearest_codes(upright, scales, codes) * per_channel(scales, upright) * signs
    torch.testing.assert_close(layer(x), norm.train()(conv(x)))
    torch.testing.assert_close(layer.layer.norm.running_mean, norm.running_mean)
    torch.testing.assert_close(layer.layer.norm.running_var, norm.running_var)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("fmt", ["int8", "int4", "int2"])
def test_frozen_it_computes_what_is_shipped(fmt: str, learned: bool) -> None:
    layer, x = quantized(fmt, learned=learned).train(), images(1, 3, 4, 9, 9)
    freeze_norms(layer, True)
    before = {name: tensor.clone() for name, tensor in layer.layer.norm.state_dict().items()}
    expected, packed = layer(x), layer.folded().packed()
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.layer.norm.state_dict().items())
    shipped = layer.folded().eval()
    torch.testing.assert_close(shipped(x), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(layer.eval()(x), expected, rtol=0, atol=1e-5)
    own = nearest_codes(layer._upright(), layer.scales, layer.format.codes)
    assert torch.equal(packed.codes.float(), own.detach())  # scales take the norm's factor, codes stay
    torch.testing.assert_close(packed.scales, (layer.scales * layer.layer.norm.factor().abs()).detach())


def test_a_channel_that_the_norm_switches_off_stays_finite() -> None:
    layer = quantized("int4").train()
    layer.layer.norm.weight.data[3] = 0.0
    for is_frozen in (False, True):
        freeze_norms(layer, is_frozen)
        out = layer(images(1, 3, 4, 9, 9))
        out.square().sum().backward()
        assert torch.isfinite(out).all()
        assert all(torch.isfinite(p.grad).all() for p in layer.parameters() if p.grad is not None)
        torch.testing.assert_close(out[:, 3], layer.layer.norm.bias[3].expand_as(out[:, 3]), rtol=1e-3, atol=1e-6)
    assert layer.folded().packed().bias_codes.abs().max() <= 2**30


@pytest.mark.parametrize("is_frozen", [False, True])
@pytest.mark.parametrize("learned", [False, True])
def test_gradients_reach_the_weight_the_norm_and_learned_steps(learned: bool, is_frozen: bool) -> None:
    layer = quantized("int4", learned=learned).train()
    freeze_norms(layer, is_frozen)
    (layer(images(1, 3, 4, 9, 9)) * images(2, 3, 8, 5, 5)).sum().backward()
    reached = {name for name, p in layer.named_parameters() if p.grad is not None and bool((p.grad != 0).all())}
    assert {"layer.norm.weight", "layer.norm.bias"} | ({"scales"} if learned else set()) <= reached
    gradient = layer.layer.conv.weight.grad
    assert gradient is not None
    assert bool((gradient != 0).flatten(1).any(1).all())


def test_right_after_its_calibration_a_network_is_that_with_norms_folded() -> None:
    x = images(2, 4, 3, 8, 8)
    alive, folded = net(keep_norms=True).eval(), net(keep_norms=False).eval()
    torch.testing.assert_close(alive(x), folded(x), rtol=0, atol=0.1 * float(folded(x).std()))
    torch.testing.assert_close(fold_norms(alive)(x), folded(x), rtol=0, atol=0.1 * float(folded(x).std()))


@pytest.mark.parametrize("learned", [(), ("int4",)])
def test_a_finished_network_is_of_the_same_kind(learned: tuple[str, ...]) -> None:
    alive, folded = net(keep_norms=True, learned=learned), net(keep_norms=False, learned=learned)
    assert type(alive.second) is QuantizedNormedConv2d
    assert type(alive.other) is NormedConv2d
    x = images(2, 4, 3, 8, 8)
    freeze_norms(alive, True)
    expected = alive.eval()(x)
    finished = fold_norms(alive)
    torch.testing.assert_close(finished(x), expected, rtol=0, atol=1e-5)
    assert types_of(finished) == types_of(folded)
    assert finished.code == folded.code
    assert set(finished.state_dict()) == set(folded.state_dict())
    assert fold_norms(folded).code == folded.code  # nothing to do


def test_frozen_norms_are_not_estimated_again() -> None:
    network = net(keep_norms=True)
    freeze_norms(network, True)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    estimate_batch_norm(network, [images(5, 4, 3, 8, 8)])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    freeze_norms(network, False)
    estimate_batch_norm(network, [images(5, 4, 3, 8, 8)])
    assert not torch.equal(network.first.layer.norm.running_mean, before["first.layer.norm.running_mean"])


def test_a_frozen_norm_stays_frozen_in_training_mode() -> None:
    norm = FreezableNorm.of(randomised(nn.BatchNorm2d(8), 1)).train()
    assert norm.training
    norm.freeze(True)
    assert not norm.train().training
    norm.freeze(False)
    assert norm.training


def test_a_norm_without_scale_and_shift_gets_none_that_are_trained() -> None:
    norm = nn.BatchNorm2d(3, affine=False)
    assert norm.running_var is not None
    norm.running_var.fill_(4.0)
    made = FreezableNorm.of(norm)
    assert not any(p.requires_grad for p in made.parameters())
    torch.testing.assert_close(made.factor(), torch.full((3,), 0.5), rtol=1e-4, atol=0)


def test_by_default_a_norm_is_folded_into_an_ordinary_convolution() -> None:
    assert type(fold_batch_norm(Net()).first) is nn.Conv2d
    assert type(net(keep_norms=False).first) is QuantizedConv2d


# The same of linear layers and batch norm of features.


def linear_pair(bias: bool = False) -> tuple[nn.Linear, nn.BatchNorm1d]:
    torch.manual_seed(0)
    norm = randomised(nn.BatchNorm1d(8), 0)
    return nn.Linear(12, 8, bias=bias), norm


def quantized_linear(fmt: str, *, learned: bool = False) -> QuantizedNormedLinear:
    source = ActivationQuantizer(fixed=(1 / 255, 0))
    return QuantizedNormedLinear(NormedLinear(*linear_pair()), fmt, source, learned=learned)


@pytest.mark.parametrize("bias", [False, True])
def test_folded_it_is_torchs_fused_linear_layer(bias: bool) -> None:
    linear, norm = linear_pair(bias)
    fused = torch.nn.utils.fusion.fuse_linear_bn_eval(linear.eval(), norm.eval())
    found = NormedLinear(linear, norm).folded()
    assert type(found) is nn.Linear
    torch.testing.assert_close(found.weight, fused.weight)
    torch.testing.assert_close(found.bias.detach(), fused.bias.detach())


@pytest.mark.parametrize("fmt", ["int8", "int4", "int2"])
def test_alive_it_is_batch_norm_behind_a_rounded_linear_layer(fmt: str) -> None:
    layer, (linear, norm) = quantized_linear(fmt).train(), linear_pair()
    signs = norm.weight.detach().sign()[:, None]
    upright, codes = linear.weight.detach() * signs, layer.format.codes
    scales = mse_scales(upright, codes)
    linear.weight.data = nearest_codes(upright, scales, codes) * scales[:, None] * signs
    x = images(1, 6, 12)
    torch.testing.assert_close(layer(x), norm.train()(linear(x)))
    torch.testing.assert_close(layer.layer.norm.running_mean, norm.running_mean)
    torch.testing.assert_close(layer.layer.norm.running_var, norm.running_var)


@pytest.mark.parametrize(
    ("fmt", "learned"), [("int8", False), ("int4", True), ("int2", False), ("pow2", False), ("codebook4", False)]
)
def test_frozen_a_linear_layer_computes_what_is_shipped(fmt: str, learned: bool) -> None:
    layer, x = quantized_linear(fmt, learned=learned).train(), images(1, 6, 12)
    freeze_norms(layer, True)
    expected, shipped = layer(x), layer.folded().eval()
    assert type(shipped) is QuantizedLinear
    torch.testing.assert_close(shipped(x), expected, rtol=0, atol=1e-5)
    if fmt.startswith("int"):
        packed = shipped.packed()
        weight = packed.codes.float() * packed.scales[:, None]
        torch.testing.assert_close(x @ weight.T + packed.bias_codes * packed.scales / 255, expected.detach())


def test_a_perceptron_keeps_its_norms_and_ships_none() -> None:
    torch.manual_seed(0)
    hidden = [nn.Linear(12, 8, bias=False), randomised(nn.BatchNorm1d(8), 1), nn.ReLU()]
    network = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(8, 8), randomised(nn.BatchNorm1d(8), 2), nn.Linear(8, 3))
    found = [prepare(network, {"1": "int8", "6": "int8"}, keep_norms=keeps) for keeps in (True, False)]
    x = images(2, 16, 12)
    for each in found:
        calibrate(each, [x])
    alive, folded = found
    assert [type(alive.get_submodule(name)) for name in "14"] == [QuantizedNormedLinear, NormedLinear]
    freeze_norms(alive, True)
    expected = alive.eval()(x)
    finished = fold_norms(alive)
    torch.testing.assert_close(finished(x), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(finished(x), folded.eval()(x), rtol=0, atol=0.1 * float(expected.detach().std()))
    assert types_of(finished) == types_of(folded)
    assert finished.code == folded.code
