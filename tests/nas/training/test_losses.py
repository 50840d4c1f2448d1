"""The training loss against its terms written out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from compressors.distillation import distillation_loss, soft_targets
from nas.training.augmentation import Batch
from nas.training.losses import Loss, network_teacher, recorded_teacher

LABELS = torch.tensor([0, 2, 1, 2])


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch(*, keep: float = 1.0, partner: Tensor | None = None) -> Batch:
    return Batch(numbers(1, 4, 5, 1, 1), LABELS, torch.tensor([7, 3, 0, 5]), keep, partner)


@given(st.floats(0, 1), st.floats(0, 0.5))
def test_mixed_labels_are_soft_labels(keep: float, smoothing: float) -> None:
    partner = torch.tensor([2, 0, 3, 1])
    logits = numbers(2, 4, 3)
    soft = keep * F.one_hot(LABELS, 3) + (1 - keep) * F.one_hot(LABELS[partner], 3)
    expected = F.cross_entropy(logits, soft.float(), label_smoothing=smoothing)
    found = Loss(label_smoothing=smoothing)(logits, batch(keep=keep, partner=partner))
    assert torch.allclose(found, expected, atol=1e-5)


def test_class_weights_weigh_images_by_their_label() -> None:
    logits, weights = numbers(2, 4, 3), torch.tensor([0.5, 1.0, 1.5])
    each = F.cross_entropy(logits, LABELS, reduction="none")
    expected = (each * weights[LABELS]).sum() / weights[LABELS].sum()
    assert torch.allclose(Loss(class_weights=weights)(logits, batch()), expected)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_teacher_shares_the_loss_with_the_labels(weight: float) -> None:
    logits, taught = numbers(2, 4, 3), numbers(3, 8, 3)
    loss = Loss(teacher=recorded_teacher(taught), weight=weight, temperature=2.0)
    teacher = distillation_loss(logits, soft_targets(taught[[7, 3, 0, 5]], 2.0), 2.0)
    expected = (1 - weight) * F.cross_entropy(logits, LABELS) + weight * teacher
    assert torch.allclose(loss(logits, batch()), expected, atol=1e-6)


def test_recorded_targets_are_mixed_like_the_images() -> None:
    taught, partner = numbers(3, 8, 3), torch.tensor([2, 0, 3, 1])
    found = recorded_teacher(taught)(batch(keep=0.25, partner=partner), 3.0)
    own = F.softmax(taught[[7, 3, 0, 5]] / 3, 1)
    assert torch.allclose(found, 0.25 * own + 0.75 * own[partner], atol=1e-6)


def test_a_network_teaches_in_eval_mode_and_without_gradients() -> None:
    network = nn.Sequential(nn.Dropout(0.9), nn.Flatten(), nn.Linear(5, 3))
    teacher = network_teacher(network)
    found = teacher(batch(), 2.0)
    assert torch.allclose(found, F.softmax(network[2](batch().images.flatten(1)) / 2, 1))
    assert not found.requires_grad
