"""Knowledge distillation: a network learns a teacher's soft targets (Hinton et al. 2015, arXiv:1503.02531)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def soft_targets(logits: Tensor, temperature: float) -> Tensor:
    """Class probabilities (N, classes) of a teacher's logits, flattened by the temperature."""
    return F.softmax(logits.detach().float() / temperature, dim=1)


def distillation_loss(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(targets || softmax(logits / T)), averaged over the images; both (N, classes).

    T^2 keeps the gradient's size about the same for every temperature.
    """
    student = F.log_softmax(logits / temperature, dim=1)
    return F.kl_div(student, targets, reduction="batchmean") * temperature**2
