"""Biases of zeros: everything that runs has one, and nothing else changes."""

from __future__ import annotations

import torch
from torch import fx, nn

from compressors.biases import give_biases
from compressors.folding import fold_batch_norm
from compressors.quantization import prepare


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2, 3, bias=False),
    )  # fmt: skip


def traced(module: nn.Module) -> fx.GraphModule:
    return fx.symbolic_trace(module)


def test_layers_without_a_bias_get_zeros() -> None:
    found = traced(network())
    before, kept = found(torch.ones(2, 1, 6, 6)), found.get_parameter("2.bias")
    give_biases(found)
    assert [found.get_parameter(f"{n}.bias").tolist() for n in (0, 5)] == [[0.0] * 4, [0.0] * 3]
    assert found.get_parameter("2.bias") is kept
    assert torch.equal(found(torch.ones(2, 1, 6, 6)), before)


def test_they_are_of_the_weights_type() -> None:
    found = traced(network().double())
    give_biases(found)
    assert found.get_parameter("0.bias").dtype == torch.float64


def test_a_layer_beside_its_living_batch_norm_gets_none() -> None:
    """The norm has one; another would be trained for nothing, and would not be in checkpoints of before."""
    layers = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1, bias=False))
    alive = prepare(layers, {"0": "int8", "2": "int8"}, keep_norms=True)
    assert "0.layer.conv.bias" not in alive.state_dict()
    assert alive.state_dict()["2.layer.bias"].tolist() == [0.0, 0.0]


def test_a_folded_network_has_a_bias_in_every_layer_and_leaves_the_original_alone() -> None:
    source = network()
    folded = fold_batch_norm(source)
    assert sum(weight.numel() for weight in folded.parameters()) == 4 * 9 + 4 + 4 * 2 + 2 + 2 * 3 + 3
    assert source[0].bias is None
    assert torch.equal(folded(torch.ones(1, 1, 6, 6)), source.eval()(torch.ones(1, 1, 6, 6)))
