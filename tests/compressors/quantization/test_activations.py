"""Activations on a grid: ranges by what is observed, rounding and gradients by hand and by torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from compressors.formats import ActivationScheme
from compressors.quantization.activations import ActivationQuantizer, observe

torch.set_num_threads(1)


def ramp(low: float, high: float, count: int = 1001) -> Tensor:
    return torch.linspace(low, high, count)


bounds = st.tuples(st.floats(-50, 50, width=32), st.floats(-50, 50, width=32)).map(sorted)


@given(bounds)
def test_an_observed_tensor_moves_by_half_a_step_at_most(bound: list[float]) -> None:
    low, high = bound
    quantizer = ActivationQuantizer()
    quantizer.observing = True
    x = ramp(low, high)
    out = quantizer(x)
    scale, zero_point = quantizer.grid()
    assert 0 <= zero_point <= 255
    assert scale == pytest.approx(max(max(high, 0.0) - min(low, 0.0), 1e-6) / 255, rel=1e-5)
    assert float((out - x).abs().max()) <= scale / 2 * (1 + 1e-3) + 1e-6 * max(abs(low), abs(high))
    assert float(quantizer(torch.zeros(1))) == 0.0


@given(st.floats(0, 100, width=32), st.floats(0, 100, width=32))
def test_the_zero_point_of_non_negative_data_is_zero(one: float, other: float) -> None:
    quantizer = ActivationQuantizer()
    quantizer.observing = True
    for x in (ramp(min(one, other), max(one, other)), torch.relu(ramp(-1, 1)), torch.zeros(3)):
        quantizer(x)
        assert quantizer.grid()[1] == 0


def test_codes_lie_on_the_grid_and_saturate() -> None:
    quantizer = ActivationQuantizer(fixed=(0.5, 10))
    x = torch.tensor([-100.0, -5.0, -0.26, -0.24, 0.0, 0.74, 122.5, 500.0])
    assert quantizer(x).tolist() == [-5.0, -5.0, -0.5, 0.0, 0.0, 0.5, 122.5, 122.5]


def test_gradients_pass_inside_the_range_and_stop_outside() -> None:
    quantizer = ActivationQuantizer(fixed=(0.5, 10))
    x = torch.tensor([-5.3, -5.2, 0.1, 122.7, 122.8], requires_grad=True)
    quantizer(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_the_first_batch_sets_the_range_and_later_ones_move_it() -> None:
    quantizer = ActivationQuantizer(momentum=0.25)
    quantizer.observing = True
    quantizer(ramp(-1, 3))
    assert (float(quantizer.low), float(quantizer.high)) == (-1.0, 3.0)
    quantizer(ramp(-3, 1))
    assert (float(quantizer.low), float(quantizer.high)) == (-1.5, 2.5)
    assert quantizer.grid() == (pytest.approx(4 / 255), 96)


def test_ranges_rest_unless_observing() -> None:
    network = nn.Sequential(ActivationQuantizer())
    observe(network, True)
    network(ramp(0, 1))
    observe(network, False)
    network(ramp(-9, 9))
    assert network[0].grid() == (pytest.approx(1 / 255), 0)


def test_a_fixed_grid_never_moves() -> None:
    quantizer = ActivationQuantizer(fixed=(0.5, 10))
    quantizer.observing = True
    quantizer(ramp(-1000, 1000))
    assert quantizer.grid() == (0.5, 10)


@pytest.mark.parametrize(("high", "expected"), [(4.0, 4.0), (6.0, 6.0), (40.0, 6.0)])
def test_a_ceiling_bounds_the_range_from_above(high: float, expected: float) -> None:
    quantizer = ActivationQuantizer(ceiling=6.0)
    quantizer.observing = True
    for _ in range(3):
        quantizer(ramp(0, high))
    assert quantizer.grid() == (pytest.approx(expected / 255), 0)


def test_grid_and_range_survive_a_checkpoint() -> None:
    quantizer, restored = ActivationQuantizer(), ActivationQuantizer()
    quantizer.observing = True
    quantizer(ramp(-2, 5))
    restored.load_state_dict(quantizer.state_dict())
    assert restored.grid() == quantizer.grid()
    restored.observing = True
    restored(ramp(-2, 5))
    assert float(restored.low) == -2.0


# The quantizer's own rounding on a CPU.


@given(
    seed=st.integers(0, 2**31),
    scale=st.floats(2**-20, 1024, width=32),
    zero_point=st.integers(0, 255),
    spread=st.floats(0.01, 3.0),
)
def test_rounding_is_torchs_bit_by_bit(seed: int, scale: float, zero_point: int, spread: float) -> None:
    """Values and gradients, clipped ones and ties among them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(400, generator=generator) * scale * 128 * spread
    ties = (torch.arange(-20, 300) + 0.5) * scale
    x = torch.cat([x, ties, torch.zeros(1)])
    quantizer = ActivationQuantizer(fixed=(scale, zero_point))
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = quantizer(ours)
    expected = torch.fake_quantize_per_tensor_affine(theirs, quantizer.scale, quantizer.zero_point, 0, 255)
    assert torch.equal(found, expected)
    upstream = torch.randn(len(x), generator=generator)
    found.backward(upstream)
    expected.backward(upstream)
    assert ours.grad is not None
    assert theirs.grad is not None
    at_edge = ((x / scale + zero_point).abs() - 0.5).abs() < 1e-3
    at_edge |= ((x / scale + zero_point) - 255.5).abs() < 1e-3
    assert torch.equal(ours.grad[~at_edge], theirs.grad[~at_edge])


def test_rounding_keeps_the_memory_format_and_the_input() -> None:
    x = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    rounded = ActivationQuantizer(fixed=(0.02, 100))(x)
    assert rounded.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, before)


@given(bounds, st.integers(2, 8), st.booleans(), st.booleans())
def test_any_scheme_holds_zero_and_the_range(bound: list[float], bits: int, signed: bool, symmetric: bool) -> None:
    scheme = ActivationScheme(bits, signed, symmetric and signed)
    low, high = bound
    quantizer = ActivationQuantizer(scheme=scheme)
    quantizer.observing = True
    x = ramp(low, high)
    out = quantizer(x)
    scale, zero_point = quantizer.grid()
    assert scheme.low <= zero_point <= scheme.high
    assert float(quantizer(torch.zeros(1))) == 0.0
    assert float((out - x).abs().max()) <= scale / 2 * (1 + 1e-3) + 1e-6 * max(abs(low), abs(high))
    expected = torch.fake_quantize_per_tensor_affine(x, quantizer.scale, quantizer.zero_point, scheme.low, scheme.high)
    assert torch.equal(quantizer.eval()(x), expected) or quantizer.observing
