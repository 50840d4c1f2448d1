"""The distillation loss against an independent implementation and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compressors.distillation import (
    Fit,
    attention,
    attention_loss,
    distillation_loss,
    feature_loss,
    resized,
    soft_targets,
)

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


def maps(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def test_the_distance_of_features_written_out() -> None:
    student, teacher, projection = maps(0, 2, 3, 4, 4), maps(1, 2, 5, 4, 4), maps(2, 5, 3)
    projected = np.einsum("ts,nshw->nthw", projection.numpy(), student.numpy())
    expected = ((projected - teacher.numpy()) ** 2).mean() / (teacher.numpy() ** 2).mean()
    assert float(feature_loss(student, teacher, projection)) == pytest.approx(expected, rel=1e-5)
    assert float(feature_loss(student, teacher, torch.zeros(5, 3))) == pytest.approx(1.0)
    scaled = feature_loss(student, 100 * teacher, 100 * projection)
    assert float(scaled) == pytest.approx(expected, rel=1e-4)  # whatever the teacher's scale


def test_the_distance_of_attention_written_out() -> None:
    student, teacher = maps(0, 2, 3, 4, 4), maps(1, 2, 5, 4, 4)

    def looked(values: np.ndarray) -> np.ndarray:
        squares = (values**2).mean(1).reshape(2, -1)
        return squares / np.linalg.norm(squares, axis=1, keepdims=True)

    expected = ((looked(student.numpy()) - looked(teacher.numpy())) ** 2).sum(1).mean()
    assert float(attention_loss(student, teacher)) == pytest.approx(expected, rel=1e-5)
    assert float(attention_loss(student, 7 * student.repeat(1, 4, 1, 1))) == pytest.approx(0.0, abs=1e-6)
    apart = torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 2)
    apart[0][..., 0], apart[1][..., 1] = 1.0, 3.0
    assert float(attention_loss(*apart)) == pytest.approx(2.0)


def test_maps_of_another_size_are_averaged_or_interpolated() -> None:
    grown = maps(0, 2, 3, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(resized(grown, (4, 4)), maps(0, 2, 3, 4, 4), atol=1e-6)
    assert torch.allclose(resized(torch.full((1, 2, 3, 3), 0.5), (5, 7)), torch.full((1, 2, 5, 7), 0.5))
    same = maps(0, 1, 1, 2, 2)
    assert resized(same, (2, 2)) is same
    squares = attention(grown, (4, 4))
    assert torch.allclose(squares, attention(maps(0, 2, 3, 4, 4), (4, 4)), atol=1e-6)


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 5))
def test_a_projection_begins_as_the_best_one(seed: int, own: int, wanted: int) -> None:
    """Least squares over all batches, against NumPy's; the ridge moves it by a thousandth."""
    fit, batches = Fit(), [(maps(seed, 3, own, 3, 3), maps(seed + 1, 3, wanted, 3, 3)) for seed in (seed, seed + 7)]
    for batch in batches:
        fit.add(*batch)
    student, teacher = (np.concatenate([b[i].numpy() for b in batches]).transpose(0, 2, 3, 1) for i in (0, 1))
    expected = np.linalg.lstsq(student.reshape(-1, own), teacher.reshape(-1, wanted), rcond=None)[0].T
    assert fit.projection().shape == (wanted, own)
    np.testing.assert_allclose(fit.projection().numpy(), expected, atol=5e-3)


def test_channels_that_are_copies_of_each_other_have_a_bounded_projection() -> None:
    fit, one = Fit(), maps(0, 4, 1, 3, 3)
    fit.add(one.repeat(1, 2, 1, 1), one)
    assert torch.allclose(fit.projection(), torch.full((1, 2), 0.5), atol=1e-2)
    dead = Fit()
    dead.add(torch.zeros(1, 2, 2, 2), torch.ones(1, 1, 2, 2))
    assert torch.equal(dead.projection(), torch.zeros(1, 2))


def test_a_projection_needs_maps() -> None:
    with pytest.raises(ValueError, match="expected maps of at least one batch, got none"):
        Fit().projection()


def test_no_gradient_reaches_the_teacher_s_maps() -> None:
    student, teacher = maps(0, 1, 2, 2, 2).requires_grad_(), maps(1, 1, 2, 2, 2).requires_grad_()
    projection = torch.eye(2, requires_grad=True)
    (feature_loss(student, teacher, projection) + attention_loss(student, teacher)).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert projection.grad is not None
