"""Passes without gradients: predictions, and the images that ranges and statistics are set from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.training.augmentation import Feed, as_input

CALIBRATION_BATCHES = 8
PREDICTED = 128


@dataclass(frozen=True)
class CalibrationBatches:
    """The first batches (N, C, H, W) of a feed's fixed order, not augmented; may be passed through again and again."""

    feed: Feed

    def __iter__(self) -> Iterator[Tensor]:
        return self.feed.plain(CALIBRATION_BATCHES)


@dataclass(frozen=True)
class Examples:
    """The same batches with their labels (N,)."""

    feed: Feed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.feed.examples(CALIBRATION_BATCHES)


@torch.no_grad()
def predict(network: nn.Module, images: Tensor, *, batch: int = PREDICTED) -> Tensor:
    """Logits of uint8 images, on the CPU; in batches of as many as runtimes predict, on which dynamic grids depend."""
    network.eval()
    return torch.cat([network(as_input(part)).cpu() for part in torch.split(images, batch)])
