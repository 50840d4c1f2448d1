"""Knowledge distillation: a network learns what a teacher answers (Hinton et al. 2015, arXiv:1503.02531), what it holds
inside (Romero et al. 2015, arXiv:1412.6550), and where it looks (Zagoruyko and Komodakis 2017, arXiv:1612.03928).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

RIDGE = 1e-3  # of the mean square of the student's channels: channels that are copies of each other have no one answer


def soft_targets(logits: Tensor, temperature: float) -> Tensor:
    """Class probabilities (N, classes) of a teacher's logits, flattened by the temperature."""
    return F.softmax(logits.detach().float() / temperature, dim=1)


def distillation_loss(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(targets || softmax(logits / T)), averaged over the images; both (N, classes).

    T^2 keeps the gradient's size about the same for every temperature.
    """
    student = F.log_softmax(logits / temperature, dim=1)
    return F.kl_div(student, targets, reduction="batchmean") * temperature**2


def resized(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (N, C, H, W) in another size: averages over regions where they shrink, else bilinear interpolation."""
    height, width = features.shape[-2:]
    if (height, width) == size:
        return features
    if height >= size[0] and width >= size[1]:
        return F.adaptive_avg_pool2d(features, size)
    return F.interpolate(features, size=size, mode="bilinear", align_corners=False)


def feature_loss(student: Tensor, teacher: Tensor, projection: Tensor) -> Tensor:
    """Mean squared distance of the student's projected maps to the teacher's, over the teacher's mean square.

    student (N, S, H, W), teacher (N, T, H', W'), projection (T, S): a 1x1 convolution, FitNets' regressor. 1 is what
    maps of zeros would get, whatever the teacher's scale.
    """
    wanted = resized(teacher.detach().float(), _size(student))
    projected = F.conv2d(student.float(), projection[:, :, None, None])
    return F.mse_loss(projected, wanted) / wanted.square().mean().clamp(min=torch.finfo(torch.float32).tiny)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of two attention maps, averaged over the images; student (N, S, H, W), teacher (N, T, H', W').

    Needs no projection: channels are summed. It lies in [0, 2].
    """
    size = _size(student)
    return (attention(student.float(), size) - attention(teacher.detach().float(), size)).square().sum(1).mean()


def attention(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Where a network looks: mean square over the channels of (N, C, H', W'), as vectors of length 1 (N, H * W)."""
    looked = resized(features.square().mean(1, keepdim=True), size)
    return F.normalize(looked.flatten(1), dim=1)


@dataclass
class Fit:
    """The projection (T, S) of least squared error from a student's channels to a teacher's, batch by batch."""

    gram: Tensor | None = None
    cross: Tensor | None = None

    @torch.no_grad()
    def add(self, student: Tensor, teacher: Tensor) -> None:
        """Maps of one batch: (N, S, H, W) and (N, T, H', W')."""
        wanted = resized(teacher, _size(student)).double().movedim(1, 0).flatten(1)
        given = student.double().movedim(1, 0).flatten(1)
        gram, cross = given @ given.T, given @ wanted.T
        self.gram = gram if self.gram is None else self.gram + gram
        self.cross = cross if self.cross is None else self.cross + cross

    def projection(self) -> Tensor:
        """A small ridge makes it one and bounded. Computed in float64. Raises ValueError where nothing was added."""
        if self.gram is None or self.cross is None:
            raise ValueError("projection: expected maps of at least one batch, got none")
        ridge = RIDGE * self.gram.diagonal().mean() + torch.finfo(torch.float64).tiny
        eye = torch.eye(len(self.gram), dtype=self.gram.dtype, device=self.gram.device)
        solved: Tensor = torch.linalg.solve(self.gram + ridge * eye, self.cross)
        return solved.T.float().contiguous()


def _size(features: Tensor) -> tuple[int, int]:
    return features.shape[-2], features.shape[-1]
