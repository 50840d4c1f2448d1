"""Quantization numerics: scales, rounding and its gradients, against brute force and arithmetic by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from compressors.formats import integer_codes
from compressors.quantization.numerics import learned_step, mse_scales, nearest_codes, rounded

torch.set_num_threads(1)

WIDTHS = (8, 6, 4, 3, 2)


def random_weight(seed: int, *shape: int) -> Tensor:
    """Channels of different size, most weights small, a few large."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(*shape, generator=generator) ** 3
    size = torch.empty(shape[0]).uniform_(-4, 1, generator=generator).exp()
    return weight * size.reshape(-1, *(1,) * (len(shape) - 1))


def squared_error(weight: Tensor, scales: Tensor, bits: int) -> Tensor:
    """Per channel, in double precision."""
    rows, scale = weight.double().flatten(1), scales.double()[:, None]
    low, high = integer_codes(bits)[0], integer_codes(bits)[-1]
    return (rows - (rows / scale).round().clamp(low, high) * scale).square().sum(1)


# Weight scales.


@pytest.mark.parametrize("bits", WIDTHS)
@given(seed=st.integers(0, 2**16), columns=st.integers(1, 40))
def test_scales_are_never_worse_than_the_largest_weight(bits: int, seed: int, columns: int) -> None:
    weight = random_weight(seed, 4, columns)
    absmax = weight.abs().amax(1) / integer_codes(bits)[-1]
    found, plain = (squared_error(weight, scales, bits) for scales in (mse_scales(weight, integer_codes(bits)), absmax))
    assert bool((found <= plain * (1 + 1e-5)).all())


@pytest.mark.parametrize(("bits", "slack"), [(8, 1.2), (4, 1.05), (3, 1.05), (2, 1.15)])
def test_scales_are_close_to_the_best_there_are(bits: int, slack: float) -> None:
    weight = torch.randn(32, 24, 3, 3, generator=torch.Generator().manual_seed(bits))
    full = weight.flatten(1).abs().amax(1) / integer_codes(bits)[-1]
    fine = torch.stack([squared_error(weight, full * f, bits) for f in torch.linspace(0.1, 1.2, 2000).tolist()])
    assert bool((squared_error(weight, mse_scales(weight, integer_codes(bits)), bits) <= slack * fine.amin(0)).all())


def test_few_bits_clip_outliers() -> None:
    weight = torch.cat([torch.linspace(-1, 1, 200), torch.tensor([3.0])])[None]
    assert float(mse_scales(weight, integer_codes(4))) < 0.8 * 3 / 7
    assert float(mse_scales(weight, integer_codes(8))) > 0.9 * 3 / 127


def test_every_channel_has_its_own_scale() -> None:
    weight = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)).repeat(3, 1)
    scales = mse_scales(weight * torch.tensor([1.0, 8.0, 0.5])[:, None], integer_codes(4))
    assert torch.allclose(scales / scales[0], torch.tensor([1.0, 8.0, 0.5]))


@pytest.mark.parametrize("bits", [8, 4])
def test_a_weight_on_the_grid_is_kept(bits: int) -> None:
    high = integer_codes(bits)[-1]
    codes = torch.arange(-high, high + 1).float()
    scales = mse_scales(codes[None] * 0.25, integer_codes(bits))
    assert scales.tolist() == [0.25]


# Learned step sizes.


@pytest.mark.parametrize("bits", WIDTHS)
@given(seed=st.integers(0, 2**31))
def test_a_learned_step_rounds_like_a_fitted_one(bits: int, seed: int) -> None:
    weight = random_weight(seed, 3, 4, 3, 3)
    codes = integer_codes(bits)
    scales = mse_scales(weight, codes)
    zero_points = torch.zeros(3, dtype=torch.int32)
    expected = torch.fake_quantize_per_channel_affine(weight, scales, zero_points, 0, codes[0], codes[-1])
    away_from_ties = ((weight / scales[:, None, None, None]) % 1 - 0.5).abs() > 1e-3
    found = learned_step(weight, scales, codes)
    torch.testing.assert_close(found[away_from_ties], expected[away_from_ties])


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_gradient_of_a_learned_step_is_that_of_the_paper(bits: int) -> None:
    """Equation 3 of LSQ, in double precision, its gradient scale included."""
    codes = integer_codes(bits)
    low, high = codes[0], codes[-1]
    weight = random_weight(1, 3, 20).double().requires_grad_()
    scales = (mse_scales(weight, codes).double() * 0.7).requires_grad_()
    upstream = torch.randn(3, 20, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    (learned_step(weight, scales, codes) * upstream).sum().backward()  # type: ignore[no-untyped-call]
    ratio = (weight / scales[:, None]).detach()
    inside = (ratio > low) & (ratio < high)
    assert 0 < inside.sum() < inside.numel()
    slope = torch.where(inside, ratio.round() - ratio, ratio.clamp(low, high))
    assert scales.grad is not None
    assert weight.grad is not None
    torch.testing.assert_close(scales.grad, (upstream * slope).sum(1) / (20 * high) ** 0.5)
    torch.testing.assert_close(weight.grad, upstream * inside)


@given(seed=st.integers(0, 2**31), bits=st.sampled_from(WIDTHS))
def test_codes_times_scales_are_the_rounded_weights(seed: int, bits: int) -> None:
    weight, codes = random_weight(seed, 3, 8), integer_codes(bits)
    scales = mse_scales(weight, codes)
    found = nearest_codes(weight, scales, codes)
    assert set(found.flatten().tolist()) <= set(codes)
    assert torch.equal(found * scales[:, None], rounded(weight, scales, codes))


def test_scales_of_a_large_layer_are_those_of_its_rows() -> None:
    """They are searched in blocks of rows that a core's cache holds."""
    weight = torch.randn(40, 9000, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 4, 40)[:, None]
    whole = mse_scales(weight, integer_codes(4))
    assert torch.allclose(whole, torch.cat([mse_scales(row[None], integer_codes(4)) for row in weight]), rtol=1e-6)
