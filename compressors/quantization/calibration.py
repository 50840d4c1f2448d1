"""Calibration: activation ranges and weight scales, set from images that pass through the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from compressors.quantization.activations import observe
from compressors.quantization.modules import refresh_scales


@torch.no_grad()
def calibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set every range and scale from batches of images (N, C, H, W); leaves the network in eval mode.

    The batches pass twice, since the grids of biases depend on the ranges. Raises ValueError where there is none.
    """
    if isinstance(batches, Iterator):
        batches = list(batches)
    network.eval()
    for _ in range(2):
        observe(network, True)
        seen = 0
        for images in batches:
            network(images)
            seen += 1
        observe(network, False)
        if not seen:
            raise ValueError("calibration: expected at least one batch of images, got none")
        refresh_scales(network)
