"""Folding: no batch norm is left, nothing else changes."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from torch import Tensor, fx, nn

from compressors.folding import fold_batch_norm
from search_spaces.network import Network, build_network
from search_spaces.spaces import MobileSpace
from search_spaces.trials import Pick

torch.set_num_threads(1)

TOLERANCE = 1e-9  # in double precision


def shake(network: nn.Module, seed: int) -> nn.Module:
    """Batch norms as after training: all four tensors differ between channels."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 1, generator=generator)
            module.running_var.uniform_(0.3, 3, generator=generator)
            if module.affine:
                module.weight.data.normal_(0, 1, generator=generator)
                module.bias.data.normal_(0, 1, generator=generator)
    return network.double()


def random_network(seed: int) -> Network:
    space = MobileSpace.model_validate({"preset": "8px"})
    architecture = space.sample(Pick(random.Random(seed).choice), input_channels=3)
    network = build_network(architecture, 10, seed=seed)
    shake(network, seed)
    return network


def pixels(channels: int = 3) -> Tensor:
    return torch.rand(4, channels, 8, 8, generator=torch.Generator().manual_seed(1)).double()


def same_outputs(network: nn.Module, folded: nn.Module, x: Tensor) -> bool:
    with torch.no_grad():
        expected, found = network.eval()(x), folded(x)
    return torch.allclose(found, expected, rtol=0, atol=TOLERANCE * float(expected.abs().max()))


@pytest.mark.parametrize("seed", range(6))
def test_a_folded_network_computes_the_same(seed: int) -> None:
    network = random_network(seed).train()
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert same_outputs(network, folded, pixels())


def test_the_original_is_untouched() -> None:
    network = random_network(0).train()
    before = copy.deepcopy(network.state_dict())
    folded = fold_batch_norm(network)
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("seed", range(3))
def test_layers_keep_their_names_and_have_biases(seed: int) -> None:
    network = random_network(seed)
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    folded = dict(fold_batch_norm(network).named_modules())
    for name, layer in layers.items():
        assert type(folded[name]) is type(layer), name
        assert folded[name].weight.shape == layer.weight.shape, name
        assert folded[name].bias.shape == layer.weight.shape[:1], name


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_bias_and_a_norm_without_scale_fold_too(bias: bool, affine: bool) -> None:
    layers = [nn.Conv2d(3, 4, 3, 2, 1, bias=bias), nn.BatchNorm2d(4, affine=affine, eps=0.1), nn.ReLU()]
    network = shake(nn.Sequential(*layers), 0)
    folded = fold_batch_norm(network)
    assert same_outputs(network, folded, pixels())
    assert [str(node.target) for node in folded.graph.nodes if node.op == "call_module"] == ["0", "2"]


def test_a_norm_behind_two_convolutions_folds_into_both() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.norm = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.norm(self.a(x)) * self.norm(self.b(x))
            return out

    network = shake(Shared(), 0)
    assert same_outputs(network, fold_batch_norm(network), pixels())


def test_a_folded_network_folds_again_to_itself() -> None:
    folded = fold_batch_norm(random_network(4))
    again = fold_batch_norm(folded)
    assert isinstance(again, fx.GraphModule)
    assert same_outputs(folded, again, pixels())


class TwoReaders(nn.Module):
    """A convolution whose own output is read besides its batch norm's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        return out + self.norm(out)


class TwoNorms(nn.Module):
    """One convolution run twice, each time with another batch norm: no single weight can hold both."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.conv(self.one(self.conv(x))))


@pytest.mark.parametrize(
    ("network", "error", "message"),
    [
        (nn.Sequential(nn.BatchNorm2d(3)), ValueError, "batch norm 0 does not follow a convolution of its own"),
        (TwoReaders(), ValueError, "batch norm norm does not follow a convolution of its own"),
        (TwoNorms(), ValueError, "batch norm one does not follow a convolution of its own"),
        (nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)), TypeError, "batch norm 1 follows ReLU, expected Conv2d"),
        (nn.Sequential(nn.Linear(3, 3), nn.BatchNorm2d(3)), TypeError, "follows Linear, expected Conv2d"),
    ],
)
def test_norms_without_a_convolution_are_refused(network: nn.Module, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fold_batch_norm(network)


def test_dropout_is_gone_from_a_folded_network() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.5), nn.Flatten(), nn.Dropout(0.9), nn.Linear(2, 3))
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, nn.Dropout) for module in folded.modules())
    x = torch.rand(5, 1, 3, 3)
    assert torch.equal(folded.train()(x), network.eval()(x))
