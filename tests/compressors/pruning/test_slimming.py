"""The regularizer of network slimming."""

from __future__ import annotations

import pytest
import torch
from pair import Pair
from torch import nn

from compressors.pruning.slimming import scale_sparsity


def test_it_is_the_sum_of_scales_without_their_signs() -> None:
    pair = Pair()
    found = scale_sparsity(nn.Sequential(pair, nn.BatchNorm2d(2), nn.BatchNorm2d(2, affine=False)))
    found.backward()
    assert float(found.detach()) == pytest.approx(0.1 + 0.2 + 5.0 + 2)
    assert pair.norm.weight.grad.tolist() == [1.0, 1.0, -1.0]
    assert pair.norm.bias.grad is None


def test_without_batch_norm_it_is_nothing() -> None:
    assert torch.equal(scale_sparsity(nn.Linear(2, 2)), torch.zeros(()))


def test_norms_of_features_count_too() -> None:
    norm = nn.BatchNorm1d(3)
    norm.weight.data = torch.tensor([-1.0, 0.5, 2.0])
    found = scale_sparsity(nn.Sequential(nn.Linear(2, 3), norm))
    found.backward()
    assert float(found.detach()) == pytest.approx(3.5)
    assert norm.weight.grad is not None
    assert norm.weight.grad.tolist() == [-1.0, 1.0, 1.0]
