"""The weights that an untrained network begins with have the deviations of their paper."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from search_spaces.initial import initialize


def test_deviations_of_layers_by_their_role() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(8, 32, 3), nn.Flatten(), nn.Linear(400, 300), nn.Linear(300, 100, bias=False))
    initialize(network, head="3")
    conv, _, hidden, head = network
    assert float(conv.weight.std()) == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.05)
    assert float(hidden.weight.std()) == pytest.approx(math.sqrt(2 / 400), rel=0.05)
    assert float(head.weight.std()) == pytest.approx(0.01, rel=0.05)
    assert not conv.bias.any()
    assert not hidden.bias.any()
