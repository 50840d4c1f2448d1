"""Calibration: activation ranges and weight scales, set from images that pass through the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from compressors.quantization.modules import observe, refresh_scales


@torch.no_grad()
def calibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set every range and scale from batches of images (N, C, H, W); leaves the network in eval mode.

    The batches pass twice, since the grids of biases depend on the ranges.
    """
    if isinstance(batches, Iterator):
        batches = list(batches)
    network.eval()
    for _ in range(2):
        observe(network, True)
        for images in batches:
            network(images)
        observe(network, False)
        refresh_scales(network)
