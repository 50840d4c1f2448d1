"""Folding: no batch norm is left, nothing else changes."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.utils import spectral_norm, weight_norm
from torchvision import models
from unsupported import hooked, parametrized

from compressors.folding import fold_batch_norm
from compressors.quantization.normed import NormedConv2d, NormedLinear, fold_norms, normed
from search_spaces.network import Network, build_network
from search_spaces.spaces import MobileSpace
from search_spaces.trials import Pick

torch.set_num_threads(1)

TOLERANCE = 1e-9  # in double precision


def shake(network: nn.Module, seed: int) -> nn.Module:
    """Batch norms as after training: all four tensors differ between channels."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
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


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_norm_of_features_folds_into_its_linear_layer(bias: bool, affine: bool) -> None:
    layers = [nn.Linear(192, 5, bias=bias), nn.Dropout(0.5), nn.BatchNorm1d(5, affine=affine, eps=0.1), nn.ReLU()]
    network = shake(nn.Sequential(nn.Flatten(), *layers, nn.Linear(5, 3)), 0)
    found = fold_batch_norm(network)
    assert same_outputs(network, found, pixels())
    assert [str(node.target) for node in found.graph.nodes if node.op == "call_module"] == ["0", "1", "4", "5"]
    assert type(found.get_submodule("1")) is nn.Linear
    assert all(parameter.requires_grad for parameter in found.parameters())
    assert same_outputs(found, fold_batch_norm(found, normed), pixels())


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


class SharedNorm(nn.Module):
    """One norm behind a convolution of its own and behind none."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.first = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), first

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            return self.norm(x) - 2 * self.norm(self.conv(x))
        return 2 * self.norm(self.conv(x)) - self.norm(x)


class Concatenated(nn.Module):
    """As in DenseNet: a norm of what several layers give, and an activation in place behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 2, 1), nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.a(x), self.b(x)], 1)
        return joined[:, :1] + self.relu(self.norm(joined))


@pytest.mark.parametrize(
    ("network", "left"),
    [
        (nn.Sequential(nn.BatchNorm2d(3)), ["0"]),
        (nn.Sequential(nn.MaxPool2d(2), nn.BatchNorm2d(3, affine=False), nn.ReLU()), ["1"]),
        (nn.Sequential(nn.ConvTranspose2d(3, 4, 1), nn.BatchNorm2d(4)), ["1"]),
        (TwoReaders(), ["norm"]),
        (TwoNorms(), ["one", "two"]),
        (SharedNorm(first=True), ["norm"]),
        (SharedNorm(first=False), ["norm"]),
        (Concatenated(), ["norm"]),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)), ["2"]),
        (nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3)), ["0", "1"]),
    ],
)
def test_a_norm_without_a_convolution_becomes_one(network: nn.Module, left: list[str]) -> None:
    shake(network, 0)
    folded = fold_batch_norm(network)
    assert same_outputs(network, folded, pixels())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    for name in left:
        layer, norm = folded.get_submodule(name), network.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        assert (layer.groups, layer.kernel_size, layer.in_channels) == (norm.num_features, (1, 1), norm.num_features)
        assert layer.weight.requires_grad == norm.affine
    assert same_outputs(network, fold_batch_norm(folded), pixels())
    alive = fold_batch_norm(network, normed)
    assert {name for name, module in alive.named_modules() if isinstance(module, NormedConv2d)} >= {*left}


def test_a_densenet_folds() -> None:
    network = shake(models.DenseNet(4, (2, 1), 8, num_classes=3), 0)
    folded = fold_batch_norm(network)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        assert torch.allclose(folded(x), network.eval()(x), rtol=1e-9, atol=1e-9)
    kinds = {name: layer.groups for name, layer in folded.named_modules() if isinstance(layer, nn.Conv2d)}
    assert kinds["features.denseblock1.denselayer2.norm1"] == 12
    assert kinds["features.norm5"] == 12
    assert "features.norm0" not in kinds


def test_where_batch_norm_stays_alive_so_does_one_without_a_convolution() -> None:
    network, x = shake(TwoNorms(), 0).float().eval(), pixels().float()
    live = fold_batch_norm(network, NormedConv2d).eval()
    assert isinstance(live.get_submodule("one"), NormedConv2d)
    with torch.no_grad():
        expected = network(x)
        assert torch.allclose(live(x), expected, rtol=1e-5, atol=1e-5)
        folded = fold_norms(live)
        assert torch.allclose(folded(x), expected, rtol=1e-5, atol=1e-5)
    assert type(folded.get_submodule("one")) is nn.Conv2d


@pytest.mark.parametrize("affine", [True, False])
def test_where_batch_norm_stays_alive_so_does_one_of_features(affine: bool) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 5, bias=False), nn.BatchNorm1d(5, affine=affine))
    network, x = shake(network, 0).float(), pixels().float()
    live = fold_batch_norm(network, normed)
    assert type(live.get_submodule("1")) is NormedLinear
    with torch.no_grad():
        torch.testing.assert_close(live.eval()(x), network.eval()(x))
        torch.testing.assert_close(live.train()(x), network.train()(x))  # by the batch's statistics, which move
        torch.testing.assert_close(live.eval()(x), network.eval()(x))
        torch.testing.assert_close(fold_norms(live)(x), network(x), rtol=1e-5, atol=1e-5)
    assert type(live.get_submodule("1")) is nn.Linear


def test_dropout_is_gone_from_a_folded_network() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.5), nn.Flatten(), nn.Dropout(0.9), nn.Linear(2, 3))
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, nn.Dropout) for module in folded.modules())
    x = torch.rand(5, 1, 3, 3)
    assert torch.equal(folded.train()(x), network.eval()(x))


# What folding does not support is refused by name.


def pair(conv: nn.Module, norm: nn.Module) -> nn.Module:
    return nn.Sequential(conv, norm).eval()


class Standardized(nn.Conv2d):
    is_traced_as_leaf = True

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean())


def replaced(module: nn.Module) -> nn.Module:
    module.forward = lambda x: x  # type: ignore[method-assign, assignment]
    return module


def no_statistics() -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(4)
    norm.running_mean = norm.running_var = None
    return norm


def unpaired(conv: nn.Conv2d) -> nn.Conv2d:
    conv.stride = 2
    return conv


class ReadsItsWeight(nn.Module):
    """A convolution whose weight is used again: folded, it would be another."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.conv.weight.mean()


class ByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(input=self.conv(x))
        return out


class LinearOf(nn.Module):
    """A linear layer that runs twice, or whose own output is read beside its batch norm's."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self.layer, self.norm, self.twice = nn.Linear(4, 4), nn.BatchNorm1d(4), twice

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(self.layer(x)) if self.twice else self.layer(x)
        return self.norm(out) if self.twice else out + self.norm(out)


CONV = nn.Conv2d(3, 4, 1)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (pair(CONV, nn.BatchNorm2d(4, track_running_stats=False)), r"1 \(BatchNorm2d\): track_running_stats False"),
        (pair(CONV, no_statistics()), r"1 \(BatchNorm2d\): track_running_stats True, supported: True, with running"),
        (pair(CONV, nn.BatchNorm2d(1)), r"1 \(BatchNorm2d\): num_features 1, supported: 4, the channels of 0"),
        (pair(CONV, nn.BatchNorm2d(4).double()), r"1 \(BatchNorm2d\): dtype torch.float64, supported: torch.float32"),
        (pair(CONV, hooked(nn.BatchNorm2d(4))), r"1 \(BatchNorm2d\): forward hooks function, supported: none"),
        (pair(hooked(nn.Conv2d(3, 4, 1)), nn.BatchNorm2d(4)), r"0 \(Conv2d\): forward hooks"),
        (pair(replaced(nn.Conv2d(3, 4, 1)), nn.BatchNorm2d(4)), r"0 \(Conv2d\): forward replaced"),
        (pair(spectral_norm(nn.Conv2d(3, 4, 1)), nn.BatchNorm2d(4)), r"0 \(Conv2d\): forward pre-hooks SpectralNorm"),
        (pair(weight_norm(nn.Conv2d(3, 4, 1)), nn.BatchNorm2d(4)), r"0 \(Conv2d\): forward pre-hooks WeightNorm"),
        (
            pair(parametrized(nn.Conv2d(3, 4, 1)), nn.BatchNorm2d(4)),
            "0 .*: parametrizations of weight",
        ),
        (pair(CONV, parametrized(nn.BatchNorm2d(4))), "1 .*: parametrizations of weight, supported: none"),
        (pair(Standardized(3, 4, 1), nn.BatchNorm2d(4)), r"cannot fold .* Standardized \(0\), supported: Conv2d"),
        (pair(nn.Linear(3, 4), nn.BatchNorm1d(1)), r"1 \(BatchNorm1d\): num_features 1, supported: 4, the channels of"),
        (pair(hooked(nn.Linear(3, 4)), nn.BatchNorm1d(4)), r"0 \(Linear\): forward hooks"),
        (
            pair(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False)),
            r"1 \(BatchNorm1d\): track_running_",
        ),
        (pair(nn.ReLU(), nn.BatchNorm1d(4)), r"1 \(BatchNorm1d\): reads 0 \(ReLU\), supported: a linear layer that ru"),
        (nn.Sequential(nn.BatchNorm1d(4)), r"0 \(BatchNorm1d\): reads input, supported: a linear layer"),
        (pair(nn.Conv1d(3, 4, 1), nn.BatchNorm1d(4)), r"1 \(BatchNorm1d\): reads 0 \(Conv1d\), supported: a linear"),
        (
            LinearOf(twice=True),
            r"norm \(BatchNorm1d\): reads layer \(Linear\), supported: a linear layer that runs o",
        ),
        (LinearOf(twice=False), r"norm \(BatchNorm1d\): reads layer \(Linear\), supported: .* nothing else reads"),
        (pair(CONV, nn.SyncBatchNorm(4)), r"cannot fold SyncBatchNorm \(1\), supported: BatchNorm2d, "),
        (pair(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4)), r"cannot fold BatchNorm3d \(1\), supported: BatchNorm2d"),
        (nn.Sequential(CONV, hooked(nn.Dropout(0.5))), r"1 \(Dropout\): forward hooks"),
        (hooked(nn.Sequential(CONV)), r"the network \(Sequential\): forward hooks"),
        (
            nn.Sequential(CONV, replaced(nn.ReLU())),
            r"1 \(ReLU\): forward replaced on the instance, supported: the class's",
        ),
        (nn.Sequential(replaced(nn.Sequential(CONV))), r"0 \(Sequential\): forward replaced on the instance"),
        (pair(unpaired(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)), r"0 \(Conv2d\): stride 2, supported: a pair"),
        (ReadsItsWeight(), r"conv \(Conv2d\): also read outside its call: conv.weight, supported: its call alone"),
        (ByName(), "norm: called with .*input.*, supported: one tensor by position"),
    ],
)
@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_what_folding_does_not_support_is_named(network: nn.Module, message: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=message):
        fold_batch_norm(network)


def test_the_forward_hook_of_a_part_is_traced_as_it_runs() -> None:
    inner = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    inner.register_forward_hook(lambda _, __, out: out * 2)
    network = shake(nn.Sequential(inner, nn.ReLU()), 0)
    assert same_outputs(network, fold_batch_norm(network), pixels())


@pytest.mark.parametrize("mode", ["reflect", "circular", "replicate"])
@pytest.mark.parametrize("padding", [1, "same"])
def test_other_paddings_fold(mode: str, padding: int | str) -> None:
    network = shake(nn.Sequential(nn.Conv2d(3, 4, 3, padding=padding, padding_mode=mode), nn.BatchNorm2d(4)), 0)
    assert same_outputs(network, fold_batch_norm(network), pixels())


@pytest.mark.parametrize("kind", [nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_every_dropout_of_torch_is_gone(kind: type[nn.Module]) -> None:
    folded = fold_batch_norm(nn.Sequential(nn.Conv2d(3, 4, 1), kind(0.5)))
    assert [str(node.target) for node in folded.graph.find_nodes(op="call_module")] == ["0"]


def test_frozen_weights_stay_frozen() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
    network[0].weight.requires_grad_(False)
    assert not fold_batch_norm(network).get_submodule("0").weight.requires_grad


def test_a_frozen_linear_layer_stays_frozen() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).requires_grad_(False)
    assert not any(parameter.requires_grad for parameter in fold_batch_norm(network).parameters())
