"""Passes without gradients: predictions, calibration of ranges, batch-norm statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compressors.quantization.modules import observe, refresh_scales
from nas.training.augmentation import Feed, as_input

CALIBRATION_BATCHES = 8


@torch.no_grad()
def calibrate(network: nn.Module, feed: Feed) -> None:
    """Set activation ranges and weight scales from training batches; twice, since bias grids depend on the ranges."""
    network.eval()
    for _ in range(2):
        observe(network, True)
        for images in feed.plain(CALIBRATION_BATCHES):
            network(images)
        observe(network, False)
        refresh_scales(network)


@torch.no_grad()
def estimate_batch_norm(network: nn.Module, feed: Feed) -> None:
    """Recompute running statistics for the weights as they are, as plain averages over training batches.

    After pruning they are of other channels; after a training they are of weights that have moved since, by much where
    it was short (Wu and Johnson 2021, arXiv:2105.07576).
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    for images in feed.plain(CALIBRATION_BATCHES):
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@torch.no_grad()
def predict(network: nn.Module, images: Tensor, *, batch: int = 256) -> Tensor:
    """Logits of uint8 images, on the CPU."""
    network.eval()
    return torch.cat([network(as_input(part)).cpu() for part in torch.split(images, batch)])
