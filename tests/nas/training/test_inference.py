"""Passes without gradients: batch-norm statistics are averages over batches."""

from __future__ import annotations

import torch
from torch import nn
from trainings import feed_of, small_network

from nas.training.inference import estimate_batch_norm, predict


def test_estimated_batch_norm_is_the_average_over_batches() -> None:
    network, feed = small_network(20), feed_of(17)
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    estimate_batch_norm(network, feed)
    with torch.no_grad():
        maps = [network[0](images) for images in feed.plain(8)]
    mean = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
    variance = torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0)
    assert torch.allclose(norm.running_mean, mean, atol=1e-6)
    assert torch.allclose(norm.running_var, variance, atol=1e-6)
    assert norm.momentum == 0.1


def test_batch_norm_is_estimated_where_only_one_pixel_and_one_image_are_left() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(2))
    estimate_batch_norm(network, feed_of(9))
    assert torch.isfinite(predict(network, feed_of(9).images)).all()
