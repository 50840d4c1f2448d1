"""Batches of training images: seeded draws, and crops, flips, distortions and mixing of uint8 images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nas.data import Images
from nas.study import RandAugment
from nas.training.randaugment import rand_augment


class Batch(NamedTuple):
    """Images (N, C, H, W), float32 in [0, 1], with labels (N,) and `indices` (N,) into the training images.

    Under mixup image i is `keep` of itself and 1 - `keep` of image `partner[i]` of the batch.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    keep: float = 1.0
    partner: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done to a batch, in this order: flip, crop, RandAugment, cutout (side as a share), mixup (alpha)."""

    flip: bool = False
    crop_padding: int = 0
    randaugment: RandAugment | None = None
    cutout: float = 0.0
    mixup: float = 0.0

    def distort(self, batch: Tensor, random: torch.Generator) -> Tensor:
        """uint8 (N, C, H, W), which may be overwritten, to the same shape and type."""
        if self.flip:
            batch = random_flip(batch, random)
        if self.crop_padding:
            batch = random_crop(batch, self.crop_padding, random)
        if self.randaugment is not None:
            operations, magnitude = self.randaugment.operations, self.randaugment.magnitude
            batch = rand_augment(batch, operations, magnitude, random)
        if self.cutout:
            batch = random_cutout(batch, self.cutout, random)
        return batch

    def mix(self, batch: Batch, random: torch.Generator) -> Batch:
        return mix_up(batch, self.mixup, random) if self.mixup else batch


@dataclass(frozen=True)
class Feed:
    """Training images on the device, and how batches are drawn and augmented."""

    images: Tensor
    labels: Tensor
    batch_size: int
    seed: int
    augmentation: Augmentation = Augmentation()

    @classmethod
    def of(
        cls,
        images: Images,
        device: torch.device,
        *,
        batch_size: int,
        seed: int,
        augmentation: Augmentation = Augmentation(),
    ) -> Feed:
        pixels = torch.from_numpy(images.images).to(device)
        labels = torch.from_numpy(images.labels).to(device)
        return cls(pixels, labels, batch_size, seed, augmentation)

    @property
    def steps(self) -> int:
        """Batches per epoch; a last one of a single image is left out, since batch norm cannot use it."""
        full, rest = divmod(len(self.labels), self.batch_size)
        return full + (rest > 1)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Batches of one epoch; the same for the same (seed, epoch)."""
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.labels), generator=random).to(self.images.device)
        for chosen in torch.split(order, self.batch_size)[: self.steps]:
            images = as_input(self.augmentation.distort(self.images.index_select(0, chosen), random))
            yield self.augmentation.mix(Batch(images, self.labels[chosen], chosen), random)

    def plain(self, batches: int) -> Iterator[Tensor]:
        """The first batches of a fixed order, not augmented: for calibration."""
        return (images for images, _ in self.examples(batches))

    def examples(self, batches: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The same with their labels."""
        random = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(self.labels), generator=random).to(self.images.device)
        for chosen in torch.split(order, self.batch_size)[: min(batches, self.steps)]:
            yield as_input(self.images.index_select(0, chosen)), self.labels[chosen]


def random_flip(batch: Tensor, random: torch.Generator) -> Tensor:
    """Mirror about half of the images, in place."""
    chosen = (torch.rand(len(batch), generator=random) < 0.5).nonzero().flatten().to(batch.device)
    return batch.index_copy_(0, chosen, batch.index_select(0, chosen).flip(3))


def random_crop(batch: Tensor, padding: int, random: torch.Generator) -> Tensor:
    """Shift every image by up to `padding` pixels each way, with its own offset; the border is filled with black.

    Whole rows of the padded batch are selected by offset, which is far faster than selecting single pixels.
    """
    n, channels, height, width = batch.shape
    y, x = torch.randint(0, 2 * padding + 1, (2, n), generator=random).to(batch.device)
    padded = F.pad(batch, (padding,) * 4)
    tall, wide = padded.shape[2:]
    every_row = padded.as_strided((padded.numel() - width + 1, width), (1, 1))
    plane = torch.arange(n * channels, device=batch.device).view(n, channels, 1) * (tall * wide)
    rows = y[:, None] + torch.arange(height, device=batch.device)
    start = plane + (rows * wide + x[:, None])[:, None]
    return every_row.index_select(0, start.flatten()).view(batch.shape)


def random_cutout(batch: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Blacken a square around a random pixel; its side is a `share` of the image's side (arXiv:1708.04552)."""
    n, _, height, width = batch.shape
    reach = share * min(height, width) / 2
    centres = torch.rand(2, n, 1, generator=random).to(batch.device)
    rows = (torch.arange(height, device=batch.device) + 0.5 - centres[0] * height).abs() < reach
    columns = (torch.arange(width, device=batch.device) + 0.5 - centres[1] * width).abs() < reach
    return batch.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def mix_up(batch: Batch, alpha: float, random: torch.Generator) -> Batch:
    """Blend every image with another of the batch; the share comes from Beta(alpha, alpha) (arXiv:1710.09412)."""
    seed = int(torch.randint(2**62, (), generator=random))
    keep = float(np.random.default_rng(seed).beta(alpha, alpha))
    partner = torch.randperm(len(batch.labels), generator=random).to(batch.labels.device)
    images = torch.lerp(batch.images[partner], batch.images, keep)
    return batch._replace(images=images, keep=keep, partner=partner)


def as_input(batch: Tensor) -> Tensor:
    """uint8 (N, C, H, W) to float32 in [0, 1], channels last in memory."""
    return batch.to(torch.float32, memory_format=torch.channels_last).div_(255)
