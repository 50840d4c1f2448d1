"""The loss: cross entropy with the labels and, with a teacher, the distances to what it answers and holds inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressors.distillation import distillation_loss, soft_targets
from nas.training.augmentation import Batch
from nas.training.hints import Hints

Teacher = Callable[[Batch, float], Tensor]
"""Maps a batch and a temperature to class probabilities (N, classes)."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """(1 - weight) * cross entropy + weight * distillation + hints; without a teacher the cross entropy alone.

    `class_weights` (classes,) weigh the cross entropy of each image by its label. With `hints` their teacher answers
    as well, so that it sees every batch once.
    """

    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    teacher: Teacher | None = None
    weight: float = 0.0
    temperature: float = 1.0
    hints: Hints | None = None

    @property
    def projections(self) -> tuple[nn.Parameter, ...]:
        """What is trained beside the network."""
        return () if self.hints is None else self.hints.projections

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Let the projections begin as what fits these images (N, C, H, W) best."""
        if self.hints is not None:
            self.hints.fit(batches)

    def forward(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """The network's logits, and what else of it the loss is computed from."""
        return (network(images), ()) if self.hints is None else self.hints.reads(images)

    def __call__(self, logits: Tensor, batch: Batch, held: Sequence[Tensor] = ()) -> Tensor:
        """Mean over the batch of logits (N, classes); `held` is what `forward` gave beside them."""
        loss = self._cross_entropy(logits, batch)
        if self.teacher is None:
            return loss
        if self.hints is None:
            return torch.lerp(loss, self._taught(logits, self.teacher(batch, self.temperature)), self.weight)
        answers, shown = self.hints.teach(batch.images)
        taught = self._taught(logits, soft_targets(answers, self.temperature))
        return torch.lerp(loss, taught, self.weight) + self.hints(held, shown)

    def _taught(self, logits: Tensor, targets: Tensor) -> Tensor:
        return distillation_loss(logits, targets, self.temperature)

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
