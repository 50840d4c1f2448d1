"""Batch norm of features: part of the linear layer before it, in reading, groups, layers and what is executed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressors.pipeline import Options, compress
from compressors.plan import CompressionPlan
from search_spaces.existing.building import ExistingNetwork
from search_spaces.existing.errors import Unreadable
from search_spaces.existing.groups import groups_of
from search_spaces.existing.parts import layers_of
from search_spaces.existing.reading import read_network
from search_spaces.layers import LayerSpec

torch.set_num_threads(1)


def perceptron() -> nn.Sequential:
    """With statistics as after training."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(32, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10),
    )  # fmt: skip
    for _ in range(3):
        network(torch.rand(32, 1, 8, 8) * 3)
    return network.eval()


@pytest.mark.parametrize("keep_norms", [False, True])
@pytest.mark.parametrize("weight_format", ["fp32", "int8"])
def test_a_perceptron_with_norms_is_read_cut_and_executed(weight_format: str, keep_norms: bool) -> None:
    network, x = perceptron(), torch.rand(7, 1, 8, 8)
    read = read_network(network, input_channels=1)
    built = ExistingNetwork(read.blueprint, 10)
    built.load_state_dict(read.state)
    assert torch.equal(built.eval()(x), network(x))
    groups = groups_of(read.blueprint, 8)
    assert [(group.name, group.members) for group in groups] == [
        ("1.width", (("1", 0), ("2", 0), ("5", 1))), ("5.width", (("5", 0), ("6", 0), ("8", 1))),
    ]  # fmt: skip
    kept = {"1.width": 16, "5.width": 8}
    layers = layers_of(read.blueprint, 8, num_classes=10, kept=kept)
    assert [(layer.name, layer.in_channels, layer.out_channels) for layer in layers] == [
        ("1", 64, 16), ("5", 16, 8), ("8", 8, 10),
    ]  # fmt: skip
    plan = CompressionPlan.model_validate({"kept": kept, "formats": {layer.name: weight_format for layer in layers}})
    found = compress(built, plan, Options(groups, keep_norms=keep_norms), [x])
    weights = sum(_sizes(found, layer) for layer in layers)
    assert weights == sum(layer.parameters for layer in layers)
    assert found(x).shape == (7, 10)


def _sizes(network: nn.Module, layer: LayerSpec) -> int:
    module = network.get_submodule(layer.name)
    linear = getattr(module, "layer", module)
    return int(linear.weight.numel() + linear.bias.numel())


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 9)),
            r"1 \(BatchNorm1d\): reads flatten \(flatten\), supported: a linear layer that runs once",
        ),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.BatchNorm1d(9), nn.Linear(9, 9)),
            r"3 \(BatchNorm1d\): reads 2 \(relu\), supported: a linear layer that runs once and whose",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.BatchNorm1d(9)), "its logits come from 2"),
    ],
)
def test_norms_of_features_elsewhere_are_refused(network: nn.Module, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        read_network(network, input_channels=1)
