"""Parts and groups of torchvision's networks: the names that genes, columns and reports have of them."""

from __future__ import annotations

import pytest
import torchvision

from search_spaces.existing.blueprint import Blueprint
from search_spaces.existing.groups import fixed_layers, grouped
from search_spaces.existing.parts import layers_of, parts_of
from search_spaces.existing.reading import read_network

SIZE = 32
LAYERS = {  # name -> how its parts begin
    "resnet18": {"conv1": 1, "layer1.0": 2, "layer1.1": 2, "layer2.0": 3},
    "mobilenet_v2": {"features.0": 1, "features.1": 2, "features.2": 3},
    "mobilenet_v3_small": {"features.0": 1, "features.1": 4, "features.2": 3, "features.3": 3, "features.4": 5},
    "shufflenet_v2_x0_5": {"conv1": 1, "stage2.0": 5, "stage2.1": 3},
    "squeezenet1_1": {"features.0": 1, "features.3": 3, "features.4": 3},
    "regnet_y_400mf": {"stem": 1, "trunk_output.block1.block1-0": 6, "trunk_output.block2.block2-0": 6},
    "densenet121": {"features.conv0": 1, **{f"features.denseblock1.denselayer{n}": 3 for n in range(1, 7)},
                    "features.transition1": 2, "features.denseblock2.denselayer1": 3},
    "efficientnet_b0": {"features.0": 1, "features.1.0": 4, "features.2.0": 5, "features.2.1": 5},
    "mnasnet0_5": {"layers.0": 1, "layers.3": 1, "layers.6": 1, "layers.8.0": 3},
}  # fmt: skip


@pytest.fixture(scope="module", params=LAYERS)
def network(request: pytest.FixtureRequest) -> tuple[str, Blueprint]:
    return request.param, read_network(torchvision.models.get_model(request.param, weights=None)).blueprint


def test_parts(network: tuple[str, Blueprint]) -> None:
    name, blueprint = network
    parts, begun = parts_of(blueprint, SIZE, num_classes=10), LAYERS[name]
    assert {part.name: len(part.layers) for part in parts[: len(begun)]} == begun
    assert len({part.name for part in parts}) == len(parts)
    assert [part.is_edge for part in parts] == [True, *[False] * (len(parts) - 2), True]


def test_groups(network: tuple[str, Blueprint]) -> None:
    """All but the classes can be cut, down to a channel of each group."""
    name, blueprint = network
    found = grouped(blueprint, SIZE)
    assert len({group.name for group in found.all}) == len(found.all)
    assert list(fixed_layers(blueprint, SIZE).values()) == ["its outputs are the classes"]
    layers = layers_of(blueprint, SIZE, num_classes=10, kept={group.name: 1 for group in found.all})
    whole = layers_of(blueprint, SIZE, num_classes=10)
    assert sum(layer.macs for layer in layers) < 0.02 * sum(layer.macs for layer in whole), name
