"""Edits of a blueprint, against what torch computes of the same change made by hand."""

from __future__ import annotations

import pytest
import torch
from read_networks import of_torchvision
from torch import nn

from search_spaces.existing import edits
from search_spaces.existing.blueprint import Blueprint
from search_spaces.existing.building import ExistingNetwork, begin_with
from search_spaces.existing.errors import Unreadable
from search_spaces.existing.reading import Read, read_network

torch.set_num_threads(1)


def built(blueprint: Blueprint, read: Read) -> nn.Module:
    network = ExistingNetwork(blueprint, read.num_classes).eval()
    begin_with(network, read.state)
    return network


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return of_torchvision("resnet18")


def test_grey_images_are_repeated(resnet: nn.Module) -> None:
    read = read_network(resnet)
    grey = edits.with_grey_input(read.blueprint)
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(built(grey, read)(images), resnet(images.repeat(1, 3, 1, 1)), atol=1e-5)
    assert grey.input_channels == 1
    assert edits.with_grey_input(grey) is grey


def test_a_small_stem(resnet: nn.Module) -> None:
    read = read_network(resnet)
    small = edits.with_small_stem(read.blueprint)
    by_hand = of_torchvision("resnet18")
    by_hand.conv1, by_hand.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    network = built(small, read)
    by_hand.conv1.load_state_dict(network.get_submodule("conv1").state_dict())
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(network(images), by_hand.eval()(images), atol=1e-5)
    assert edits.stem_division(small) == 1
    with pytest.raises(Unreadable, match="its first convolution has stride 1 and no pooling behind it"):
        edits.with_small_stem(small)


@pytest.mark.parametrize(
    ("name", "division", "kernel", "pool"),
    [
        ("resnet18", 4, 3, "maxpool"), ("densenet121", 4, 3, "features.pool0"), ("shufflenet_v2_x0_5", 4, 3, "maxpool"),
        ("squeezenet1_1", 4, 3, "features.2"), ("mobilenet_v2", 2, 3, None), ("regnet_y_400mf", 2, 3, None),
        ("mobilenet_v3_small", 2, 3, None),
    ],
)  # fmt: skip
def test_stems_of_torchvision(name: str, division: int, kernel: int, pool: str | None) -> None:
    before = read_network(of_torchvision(name)).blueprint
    assert edits.stem_division(before) == division
    assert [edits.prefers_small_stem(before, size) for size in (32, 63, 64)] == [division >= 4, division >= 4, False]
    after = edits.with_small_stem(before)
    stem = next(node for node in after.nodes if node.op == "conv")
    assert (stem.fields["stride"], stem.fields["kernel_size"]) == ([1, 1], [kernel] * 2)
    assert {node.name for node in before.nodes} - {node.name for node in after.nodes} == ({pool} if pool else set())


def test_a_stem_that_divides_nothing_is_no_stem_to_change() -> None:
    vgg = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2)
    )
    blueprint = read_network(vgg).blueprint
    assert edits.stem_division(blueprint) == 1
    assert not edits.prefers_small_stem(blueprint, 32)
    forked = read_network(Forked()).blueprint
    assert edits.stem_division(forked) == 2  # the pool is not the only reader
    assert edits.stem_division(read_network(nn.Sequential(nn.Flatten(), nn.Linear(64, 2))).blueprint) == 1


@pytest.mark.parametrize(("head", "is_small"), [(nn.Flatten(), False), (nn.AdaptiveAvgPool2d(8), True)])
def test_a_stem_stays_where_the_rest_cannot_take_larger_maps(head: nn.Module, is_small: bool) -> None:
    """As with linear layers behind a flattened map, which are right for the images as they are."""
    stem = [nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    blueprint = read_network(nn.Sequential(*stem, head, nn.Flatten(), nn.Linear(4 * 64, 2))).blueprint
    assert edits.stem_division(blueprint) == 4
    assert edits.prefers_small_stem(blueprint, 32) == is_small


class Sides(nn.Module):
    """Two convolutions of the image, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc((self.a(x) + self.b(x)).mean([2, 3]))
        return logits


def test_a_convolution_beside_another_one_is_no_stem_to_change() -> None:
    blueprint = read_network(Sides()).blueprint
    assert not edits.prefers_small_stem(blueprint, 32)
    with pytest.raises(Unreadable, match="or is not all that reads the image, expected one to make smaller"):
        edits.with_small_stem(blueprint)


class Forked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.fc = nn.Conv2d(3, 8, 3, 2, 1), nn.MaxPool2d(3, 1, 1), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        logits: torch.Tensor = self.fc((x + self.pool(x)).mean([2, 3]))
        return logits


def test_a_linear_head_in_the_place_of_several_layers() -> None:
    features = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 5)]
    network = nn.Sequential(*features, *head).eval()
    read = read_network(network)
    linear = edits.with_linear_head(read.blueprint)
    assert [node.name for node in linear.nodes] == [
        "0", "1", "2", "adaptive_average", "flatten_1", "7", "8",
    ]  # fmt: skip
    rebuilt = built(linear, read)
    fc = rebuilt.get_submodule("8")
    assert isinstance(fc, nn.Linear)
    assert (fc.in_features, fc.out_features) == (8, 5)
    images = torch.rand(2, 3, 12, 12)
    expected = fc(nn.Sequential(*features)(images).mean([2, 3]))
    assert torch.allclose(rebuilt(images), expected, atol=1e-6)


def test_a_linear_head_in_the_place_of_a_convolution() -> None:
    read = read_network(of_torchvision("squeezenet1_1"))
    linear = edits.with_linear_head(read.blueprint)
    assert [node.op for node in linear.nodes[-5:]] == [
        "concatenate", "adaptive_average", "flatten", "dropout", "linear",
    ]  # fmt: skip
    assert linear.by_name["classifier.1"].fields == {"in_features": 512, "out_features": 1, "bias": True}
    assert built(linear, read)(torch.rand(1, 3, 32, 32)).shape == (1, 7)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "shufflenet_v2_x0_5", "regnet_y_400mf"])
def test_a_head_that_is_linear_stays(name: str) -> None:
    blueprint = read_network(of_torchvision(name)).blueprint
    assert edits.with_linear_head(blueprint).digest == blueprint.digest


def test_a_perceptron_has_no_features_to_average() -> None:
    blueprint = read_network(nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2))).blueprint
    with pytest.raises(Unreadable, match="has no feature map before its head"):
        edits.with_linear_head(blueprint)


def test_channels_are_those_that_torch_computes() -> None:
    network = of_torchvision("shufflenet_v2_x0_5")
    read = read_network(network)
    channels, rebuilt, seen = edits.channels_of(read.blueprint), built(read.blueprint, read), dict[str, int]()
    for node in read.blueprint.nodes:
        if node.op in ("conv", "select", "norm"):
            rebuilt.get_submodule(node.path).register_forward_hook(
                lambda module, given, out, name=node.name: seen.__setitem__(name, out.shape[1])
            )
    rebuilt(torch.rand(1, 3, 32, 32))
    head = read.blueprint.head
    assert len(seen) > 100
    assert {name: channels[name] for name in seen if name != head} == {k: v for k, v in seen.items() if k != head}


class Joined(nn.Module):
    """Features of two maps, side by side before the head."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 5, 3), nn.Linear(9, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(torch.cat([self.a(x).mean([2, 3]), self.b(x).mean([2, 3])], 1))
        return logits


def test_a_linear_head_has_one_map_before_it() -> None:
    with pytest.raises(Unreadable, match=r"^concatenate \(concatenate\): joins features of several maps, expected one"):
        edits.with_linear_head(read_network(Joined()).blueprint)
