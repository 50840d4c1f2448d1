"""The distillation loss against an independent implementation and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compressors.distillation import distillation_loss, soft_targets

logits = hnp.arrays(np.float64, (3, 4), elements=st.floats(-8, 8))


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def by_hand(student: np.ndarray, teacher: np.ndarray, t: float) -> float:
    p, q = softmax(teacher / t), softmax(student / t)
    return t**2 * float((p * (np.log(p) - np.log(q))).sum()) / len(student)


@given(logits, logits, st.floats(0.5, 10))
def test_against_numpy(student: np.ndarray, teacher: np.ndarray, t: float) -> None:
    targets = soft_targets(torch.from_numpy(teacher), t)
    assert np.allclose(targets.numpy(), softmax(teacher / t), atol=1e-6)
    found = float(distillation_loss(torch.from_numpy(student), targets, t))
    assert found == pytest.approx(by_hand(student, teacher, t), abs=1e-4 * t**2)


@given(logits, st.floats(0.5, 10))
def test_the_teacher_itself_loses_nothing(teacher: np.ndarray, t: float) -> None:
    own = torch.from_numpy(teacher).float()
    assert abs(float(distillation_loss(own, soft_targets(own, t), t))) < 1e-4 * t**2


def test_the_gradients_size_hardly_depends_on_the_temperature() -> None:
    """Hinton et al., section 2.1: at high temperature it tends to (z - v) / classes for centred logits."""
    random = np.random.default_rng(0)
    teacher = torch.from_numpy(random.normal(size=(1, 5)))
    student = torch.from_numpy(random.normal(size=(1, 5))).requires_grad_()
    distillation_loss(student, soft_targets(teacher, 200.0).double(), 200.0).backward()
    centred = [z - z.mean() for z in (student.detach(), teacher)]
    assert student.grad is not None
    assert torch.allclose(student.grad, (centred[0] - centred[1]) / 5, atol=5e-3)


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = torch.zeros(1, 3, requires_grad=True)
    assert not soft_targets(teacher, 2.0).requires_grad
