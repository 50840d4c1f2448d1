"""Batch norm's statistics: the plain average over batches, and nothing where there is none."""

from __future__ import annotations

import torch
from torch import nn

from compressors.batch_norm import estimate_batch_norm

torch.set_num_threads(1)


def batches() -> list[torch.Tensor]:
    return list(torch.randn(3, 6, 2, 4, 4, generator=torch.Generator().manual_seed(0)))


def test_statistics_are_the_average_over_batches() -> None:
    norm = nn.BatchNorm2d(2, momentum=0.3)
    norm.running_mean.fill_(100.0)
    estimate_batch_norm(nn.Sequential(norm), batches())
    mean = torch.stack([x.mean((0, 2, 3)) for x in batches()]).mean(0)
    variance = torch.stack([x.var((0, 2, 3)) for x in batches()]).mean(0)
    assert torch.allclose(norm.running_mean, mean, atol=1e-6)
    assert torch.allclose(norm.running_var, variance, atol=1e-6)
    assert norm.momentum == 0.3
    assert norm.weight.grad is None


def test_a_network_without_batch_norm_is_left_alone() -> None:
    network, read = nn.Sequential(nn.Conv2d(2, 2, 1)).eval(), list[int]()
    estimate_batch_norm(network, (read.append(1) or x for x in batches()))  # type: ignore[func-returns-value]
    assert not network.training
    assert not read


def test_statistics_of_features_too() -> None:
    norm, features = nn.BatchNorm1d(2), [x[:, :, 0, 0] for x in batches()]
    estimate_batch_norm(nn.Sequential(norm), features)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert torch.allclose(norm.running_mean, torch.stack([x.mean(0) for x in features]).mean(0), atol=1e-6)
    assert torch.allclose(norm.running_var, torch.stack([x.var(0) for x in features]).mean(0), atol=1e-6)
