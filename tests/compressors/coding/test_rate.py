"""The rate of codes: by hand, against finite differences, and what its gradients do."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import MIXED, quantized
from torch import Tensor, nn

from compressors.coding.rate import entropy_bits, mean_bits, soft_histogram
from compressors.formats import FORMATS, integer_codes
from compressors.masking.layers import set_mask
from compressors.quantization.activations import ActivationQuantizer
from compressors.quantization.modules import QuantizedLayer, QuantizedLinear

CODES = integer_codes(4)


def rate(positions: Tensor) -> Tensor:
    return entropy_bits(soft_histogram(positions, CODES))


@given(st.lists(st.integers(-8, 7), min_size=1, max_size=60))
def test_on_the_grid_it_is_the_entropy(codes: list[int]) -> None:
    counts = np.bincount(np.array(codes) + 8)
    shares = counts[counts > 0] / len(codes)
    assert float(rate(torch.tensor(codes).float())) == pytest.approx(-len(codes) * (shares * np.log2(shares)).sum())


@given(st.lists(st.floats(-12, 12), min_size=1, max_size=40))
def test_every_weight_counts_once_and_lies_where_it_lies(positions: list[float]) -> None:
    given = torch.tensor(positions)
    counts = soft_histogram(given, CODES)
    assert float(counts.sum()) == pytest.approx(len(positions), rel=1e-5)
    mean = float(counts @ torch.tensor(list(CODES)).float()) / len(positions)
    assert mean == pytest.approx(float(given.clamp(-8, 7).mean()), abs=1e-4)


def test_the_gradient_is_the_difference_of_two_codes_bits() -> None:
    positions = torch.tensor([0.0] * 6 + [0.25, 1.0, 1.0, 7.0, 9.0], requires_grad=True)
    counts = soft_histogram(positions, CODES)
    rate(positions).backward()
    bits = -torch.log2(counts / counts.sum())
    assert positions.grad is not None
    assert float(positions.grad[6]) == pytest.approx(
        float((bits[9] - bits[8]).detach()), rel=1e-5
    )  # from code 0 to code 1
    assert float(positions.grad[10]) == 0  # clipped
    step = torch.zeros(11).index_fill(0, torch.tensor([6]), 1e-2)
    change = rate(positions.detach() + step) - rate(positions.detach() - step)
    assert float(change) / 2e-2 == pytest.approx(float(positions.grad[6]), rel=1e-2)


CODED = [name for name, fmt in FORMATS.items() if not fmt.is_float]


@pytest.mark.parametrize("fmt", CODED)
def test_of_every_format_the_bits_are_those_of_its_codes(fmt: str) -> None:
    """Of weights that lie on the grid, whatever its kind."""
    torch.manual_seed(0)
    layer = QuantizedLinear(nn.Linear(64, 32), fmt, ActivationQuantizer(fixed=(0.1, 0)))
    with torch.no_grad():
        layer.layer.weight.copy_(layer.quantized()[0])
    _, counts = torch.unique(layer.packed().codes, return_counts=True)
    shares = counts / counts.sum()
    assert float(mean_bits(layer).detach()) == pytest.approx(-float((shares * shares.log2()).sum()), abs=0.02)


@pytest.mark.parametrize("fmt", ["ternary", "codebook4", "int2", "pow2"])
def test_gradients_reach_the_weights_of_every_kind_of_grid(fmt: str) -> None:
    torch.manual_seed(0)
    layer = QuantizedLinear(nn.Linear(64, 32), fmt, ActivationQuantizer(fixed=(0.1, 0)))
    mean_bits(layer).backward()
    assert layer.layer.weight.grad is not None
    assert bool(torch.isfinite(layer.layer.weight.grad).all())
    assert float(layer.layer.weight.grad.abs().sum()) > 0


def test_bits_per_weight_of_a_network() -> None:
    network = quantized(MIXED)
    layers = [m for m in network.modules() if isinstance(m, QuantizedLayer)]
    bits = [float(entropy_bits(soft_histogram(m.positions(), m.format.codes)).detach()) for m in layers]
    weights = [m.packed().codes.numel() for m in layers]
    assert float(mean_bits(network).detach()) == pytest.approx(sum(bits) / sum(weights), rel=1e-5)
    assert float(mean_bits(nn.Linear(3, 3))) == 0


def test_positions_round_to_the_codes() -> None:
    network = quantized(MIXED)
    for layer in (m for m in network.modules() if isinstance(m, QuantizedLayer)):
        codes = layer.positions().round().clamp(layer.format.codes[0], layer.format.codes[-1])
        assert float((codes != layer.packed().codes).float().mean()) < 0.01  # ties apart


def test_masked_weights_of_two_values_have_no_code_and_no_bits() -> None:
    """Of those that are kept all are above 0: one code, which takes no bits."""
    linear = nn.Linear(4, 3)
    linear.weight.data.abs_()
    set_mask(linear, torch.arange(12).reshape(3, 4) % 2 == 0)
    layer = QuantizedLinear(linear, "binary", ActivationQuantizer(fixed=(0.1, 0)))
    with torch.no_grad():
        layer.layer.weight.copy_(layer.quantized()[0])
    assert float(mean_bits(layer).detach()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("learned", [False, True])
def test_training_by_it_makes_codes_cheaper(learned: bool) -> None:
    torch.manual_seed(0)
    source = ActivationQuantizer(fixed=(0.1, 0))
    layer = QuantizedLinear(nn.Linear(64, 32), "int4", source, learned=learned).train()
    before = copy.deepcopy(layer)
    for _ in range(60):
        layer.zero_grad()
        mean_bits(layer).backward()
        with torch.no_grad():
            for parameter in layer.parameters():
                if parameter.grad is not None:
                    parameter -= 1e-3 * parameter.grad.sign()
    assert float(mean_bits(layer).detach()) < float(mean_bits(before).detach()) - 0.5
    assert (layer.packed().codes == 0).sum() > 1.5 * (before.packed().codes == 0).sum()
    assert layer.bias.grad is None
    moved = not torch.equal(layer.scales, before.scales)
    assert moved == learned
