"""Networks as built: names and shapes of the closed form, torchvision's blocks as an oracle, exact 8-bit pixels."""

from __future__ import annotations

import random
from functools import partial
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import mobilenetv2, mobilenetv3

from search_spaces.architecture import Architecture
from search_spaces.block_configs import Activation
from search_spaces.blocks import ACTIVATIONS, InvertedResidual, Normalize
from search_spaces.network import Network, build_network
from search_spaces.spaces import PRESETS, MobileSpace
from search_spaces.trials import Pick, first

torch.set_num_threads(1)

CLASSES = 10
SMALL = ("8px", "32px")


def drawn(preset: str, seed: int, channels: Literal[1, 3] = 3) -> Architecture:
    space = MobileSpace.model_validate({"preset": preset})
    return space.sample(Pick(random.Random(seed).choice), input_channels=channels)


def smallest(preset: str, channels: Literal[1, 3]) -> Architecture:
    return MobileSpace.model_validate({"preset": preset}).sample(Pick(first), input_channels=channels)


def layers_of(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    return {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


@pytest.mark.parametrize("preset", SMALL)
@pytest.mark.parametrize("seed", range(4))
def test_modules_are_the_layers_of_the_architecture(preset: str, seed: int) -> None:
    architecture = drawn(preset, seed)
    found = layers_of(build_network(architecture, CLASSES))
    layers = architecture.layers(CLASSES)
    assert sorted(found) == sorted(layer.name for layer in layers)
    for layer in layers:
        module = found[layer.name]
        if isinstance(module, nn.Linear):
            assert (layer.kind, layer.kernel, layer.stride) == ("linear", 1, 1)
            assert (module.in_features, module.out_features) == (layer.in_channels, layer.out_channels)
            continue
        assert (module.in_channels, module.out_channels) == (layer.in_channels, layer.out_channels), layer.name
        assert module.kernel_size == (layer.kernel, layer.kernel), layer.name
        assert (module.stride, module.groups) == ((layer.stride, layer.stride), layer.groups), layer.name
        assert module.weight.numel() == layer.weight_count, layer.name


@pytest.mark.parametrize("preset", SMALL)
@pytest.mark.parametrize("seed", range(3))
def test_map_sizes_and_order_of_execution(preset: str, seed: int) -> None:
    architecture = drawn(preset, seed)
    network = build_network(architecture, CLASSES).eval()
    sizes: list[tuple[str, int, int]] = []

    def listen(name: str, module: nn.Module) -> None:
        def hook(_: nn.Module, given: tuple[Tensor], out: Tensor) -> None:
            side = [t.shape[-1] if t.dim() == 4 else 1 for t in (given[0], out)]
            sizes.append((name, side[0], side[1]))

        module.register_forward_hook(hook)

    for name, module in layers_of(network).items():
        listen(name, module)
    with torch.no_grad():
        network(torch.rand(1, 3, architecture.input_size, architecture.input_size))
    assert sizes == [(layer.name, layer.input_size, layer.output_size) for layer in architecture.layers(CLASSES)]


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("channels", [1, 3])
def test_output_shapes(preset: str, channels: Literal[1, 3]) -> None:
    architecture = smallest(preset, channels)
    network = build_network(architecture, 7).eval()
    with torch.no_grad():
        logits = network(torch.rand(2, channels, architecture.input_size, architecture.input_size))
    assert logits.shape == (2, 7)
    assert bool(torch.isfinite(logits).all())


@pytest.mark.parametrize("seed", range(3))
def test_batch_norms_are_named_after_their_convolutions(seed: int) -> None:
    network = build_network(drawn("8px", seed), CLASSES)
    modules = dict(network.named_modules())
    norms = [name for name, module in modules.items() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    for name in norms:
        conv = modules[name.removesuffix("_bn")]
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is None
        assert conv.out_channels == modules[name].num_features


def test_every_group_member_is_a_module() -> None:
    architecture = drawn("32px", 0)
    network = build_network(architecture, CLASSES)
    for group in architecture.groups():
        for path, axis in group.members:
            assert network.get_submodule(path).weight.shape[axis] == group.width, path


# Seeds.


def test_a_seed_gives_the_same_network_whatever_was_drawn_before() -> None:
    architecture = drawn("8px", 0)
    torch.manual_seed(1)
    one = build_network(architecture, CLASSES, seed=5).state_dict()
    torch.rand(17)
    other = build_network(architecture, CLASSES, seed=5).state_dict()
    third = build_network(architecture, CLASSES, seed=6).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["classifier.weight"], third["classifier.weight"])
    assert not torch.equal(one["stem.conv.weight"], third["stem.conv.weight"])


def test_a_seeded_build_leaves_the_global_generators_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An accelerator's too: `torch.manual_seed` would seed it, and nothing puts that back."""
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before = torch.random.get_rng_state()
    build_network(drawn("8px", 0), CLASSES, seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert seeded == []


def test_without_a_seed_the_global_generator_decides() -> None:
    architecture = drawn("8px", 0)
    torch.manual_seed(3)
    one, other = (build_network(architecture, CLASSES).classifier.weight for _ in range(2))
    torch.manual_seed(3)
    again = build_network(architecture, CLASSES).classifier.weight
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_initial_weights_are_he_initialised() -> None:
    """Standard deviation sqrt(2 / fan out), fan out = outputs x kernel area of one group."""
    network = build_network(smallest("224px", 3), CLASSES, seed=0)
    wide = network.head.conv
    assert wide.weight.detach().std().item() == pytest.approx((2 / wide.out_channels) ** 0.5, rel=0.02)
    assert network.classifier.weight.detach().std().item() == pytest.approx(0.01, rel=0.05)
    assert not bool(network.classifier.bias.any())


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


def test_a_network_trains() -> None:
    network: Network = build_network(drawn("8px", 1), CLASSES, seed=0).train()
    nn.functional.cross_entropy(network(torch.rand(8, 3, 8, 8)), torch.arange(8)).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_dropout_is_there_only_where_it_is_asked_for() -> None:
    architecture = smallest("8px", 1)
    plain, dropping = (build_network(architecture, 10, seed=1, dropout=share) for share in (0.0, 0.5))
    assert not any(isinstance(module, nn.Dropout) for module in plain.modules())
    assert list(plain.state_dict()) == list(dropping.state_dict())
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(plain.eval()(x), dropping.eval()(x))
    features = torch.ones(1000, architecture.head.width)
    dropped = dropping.train().dropout(features)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
