"""Scales of two and three values: against brute force and closed forms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from compressors.quantization.signs import learned_signs, mean_magnitudes, on_signs, sign_codes, ternary_scales

torch.set_num_threads(1)


def random_weight(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) ** 3


def ternary_error(rows: Tensor, scales: Tensor) -> Tensor:
    codes = (rows / scales[:, None]).round().clamp(-1, 1)
    return (rows - codes * scales[:, None]).square().sum(1)


@given(seed=st.integers(0, 2**16), columns=st.integers(1, 30))
def test_no_other_scale_of_three_values_is_better(seed: int, columns: int) -> None:
    rows = random_weight(seed, 3, columns).double()
    found = ternary_error(rows, ternary_scales(rows))
    largest = rows.abs().amax(1)
    others = torch.stack([ternary_error(rows, largest * share) for share in torch.linspace(0.02, 1.2, 300).tolist()])
    assert bool((found <= others.amin(0) * (1 + 1e-9) + 1e-12).all())


def test_three_values_by_hand() -> None:
    weight = torch.tensor([[0.1, -1.0, 0.8, 0.05], [0.0, 0.0, 0.0, 0.0], [2.0, 2.0, -2.0, 2.0]])
    torch.testing.assert_close(ternary_scales(weight), torch.tensor([0.9, 1.0, 2.0]))


def test_the_threshold_of_the_paper_is_no_better() -> None:
    rows = random_weight(0, 16, 90)
    kept = rows.abs() > 0.7 * rows.abs().mean(1, keepdim=True)
    scales = (rows.abs() * kept).sum(1) / kept.sum(1)
    paper = (rows - rows.sign() * kept * scales[:, None]).square().sum(1)
    assert bool((ternary_error(rows, ternary_scales(rows)) <= paper * (1 + 1e-5)).all())


@given(seed=st.integers(0, 2**16))
def test_no_other_scale_of_two_values_is_better(seed: int) -> None:
    rows = random_weight(seed, 3, 20).double()
    found, signs = mean_magnitudes(rows), rows.sign()
    for factor in (0.9, 1.1):
        errors = [(rows - signs * (found * f)[:, None]).square().sum(1) for f in (1.0, factor)]
        assert bool((errors[0] < errors[1]).all())


def test_signs_have_no_zero() -> None:
    assert sign_codes(torch.tensor([-0.5, 0.0, 3.0])).tolist() == [-1.0, 1.0, 1.0]


@pytest.mark.parametrize("learned", [False, True])
def test_values_are_exact_and_gradients_pass_straight_through(learned: bool) -> None:
    weight = random_weight(1, 2, 9).requires_grad_()
    scales = torch.tensor([0.5, 2.0], requires_grad=learned)
    values = (learned_signs if learned else on_signs)(weight, scales)
    torch.testing.assert_close(values.detach().abs(), torch.tensor([[0.5], [2.0]]).expand(2, 9))
    values.backward(torch.arange(18.0).reshape(2, 9))
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.arange(18.0).reshape(2, 9))
    if learned:  # the sum of sign * gradient, times the root of the number of weights
        assert scales.grad is not None
        summed = (torch.arange(18.0).reshape(2, 9) * sign_codes(weight.detach())).sum(1)
        torch.testing.assert_close(scales.grad, summed / 3)
