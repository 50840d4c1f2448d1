"""Biases of zeros: everything that runs has one, and nothing else changes."""

from __future__ import annotations

import torch
from torch import nn

from compressors.biases import give_biases
from compressors.folding import fold_batch_norm


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2, 3, bias=False),
    )  # fmt: skip


def test_layers_without_a_bias_get_zeros() -> None:
    found = network()
    before, kept = found(torch.ones(2, 1, 6, 6)), found[2].bias
    give_biases(found)
    assert [found[n].bias.tolist() for n in (0, 5)] == [[0.0] * 4, [0.0] * 3]
    assert found[2].bias is kept
    assert torch.equal(found(torch.ones(2, 1, 6, 6)), before)


def test_they_are_of_the_weights_type() -> None:
    found = network().double()
    give_biases(found)
    assert found[0].bias.dtype == torch.float64


def test_a_folded_network_has_a_bias_in_every_layer_and_leaves_the_original_alone() -> None:
    source = network()
    folded = fold_batch_norm(source)
    assert sum(weight.numel() for weight in folded.parameters()) == 4 * 9 + 4 + 4 * 2 + 2 + 2 * 3 + 3
    assert source[0].bias is None
    assert torch.equal(folded(torch.ones(1, 1, 6, 6)), source.eval()(torch.ones(1, 1, 6, 6)))
