"""The loss: cross entropy with the labels and, with a teacher, the distance to its soft targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressors.distillation import distillation_loss, soft_targets
from nas.training.augmentation import Batch

Teacher = Callable[[Batch, float], Tensor]
"""Maps a batch and a temperature to class probabilities (N, classes)."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """(1 - weight) * cross entropy + weight * distillation; without a teacher the cross entropy alone.

    `class_weights` (classes,) weigh the cross entropy of each image by its label.
    """

    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    teacher: Teacher | None = None
    weight: float = 0.0
    temperature: float = 1.0

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean over the batch of logits (N, classes)."""
        loss = self._cross_entropy(logits, batch)
        if self.teacher is None:
            return loss
        taught = distillation_loss(logits, self.teacher(batch, self.temperature), self.temperature)
        return torch.lerp(loss, taught, self.weight)

    def _cross_entropy(self, logits: Tensor, batch: Batch) -> Tensor:
        own = self._of(logits, batch.labels)
        if batch.partner is None:
            return own
        return torch.lerp(self._of(logits, batch.labels[batch.partner]), own, batch.keep)

    def _of(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, self.class_weights, label_smoothing=self.label_smoothing)


def network_teacher(network: nn.Module) -> Teacher:
    """A teacher that sees the same distorted and mixed images as the student. `network` is put into eval mode."""
    network.eval()

    @torch.no_grad()
    def teach(batch: Batch, temperature: float) -> Tensor:
        return soft_targets(network(batch.images), temperature)

    return teach


def recorded_teacher(logits: Tensor) -> Teacher:
    """A teacher whose logits (images, classes) were recorded once, on undistorted training images.

    Mixed images get mixed targets.
    """

    def teach(batch: Batch, temperature: float) -> Tensor:
        targets = soft_targets(logits[batch.indices.to(logits.device)], temperature).to(batch.images.device)
        return targets if batch.partner is None else torch.lerp(targets[batch.partner], targets, batch.keep)

    return teach
