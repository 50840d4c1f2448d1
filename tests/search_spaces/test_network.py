"""Networks as built: names and shapes of the closed form, seeds, initial weights, dropout."""

from __future__ import annotations

import random
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
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
