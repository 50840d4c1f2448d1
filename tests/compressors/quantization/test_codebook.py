"""Codebooks: k-means against scikit-learn, entries and their gradients against sums by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch import Tensor, nn

from compressors.formats import FORMATS, Format
from compressors.quantization.activations import ActivationQuantizer
from compressors.quantization.codebook import (
    LARGEST,
    ROUNDS,
    between,
    entry_codes,
    entry_step,
    index_codes,
    kmeans,
    lloyd,
    nearest_entries,
    on_entries,
)
from compressors.quantization.modules import QuantizedLinear

torch.set_num_threads(1)


def numbers(seed: int, count: int) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed)) ** 3


def inertia(values: Tensor, centres: Tensor) -> float:
    return float((values[:, None] - centres[None]).square().amin(1).sum())


@pytest.mark.parametrize("count", [4, 8, 16])
def test_from_the_same_start_centres_are_scikit_learn_s(count: int) -> None:
    ordered = torch.randn(2000, generator=torch.Generator().manual_seed(count), dtype=torch.float64).sort().values
    start = torch.linspace(float(ordered[0]), float(ordered[-1]), count, dtype=torch.float64)
    known = KMeans(count, init=start.numpy()[:, None], n_init=1, max_iter=ROUNDS, tol=0).fit(ordered.numpy()[:, None])
    np.testing.assert_allclose(lloyd(ordered, start).numpy(), np.sort(known.cluster_centers_[:, 0]), rtol=1e-6)


@pytest.mark.parametrize("count", [4, 8, 16])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_centres_are_about_as_good_as_scikit_learn_s_of_many_starts(count: int, seed: int) -> None:
    values = numbers(seed, 500)
    known = KMeans(count, n_init=10, random_state=0).fit(values.double().numpy()[:, None])
    assert inertia(values, kmeans(values, count)) < 1.01 * known.inertia_


def test_few_different_numbers_are_all_entries() -> None:
    values = torch.tensor([-2.0, 0.5, 0.5, 3.0, 3.5]).repeat(4)
    assert set(kmeans(values, 4).tolist()) == {-2.0, 0.5, 3.0, 3.5}


def test_masked_weights_keep_an_entry_of_their_own() -> None:
    values = torch.where(torch.arange(300) % 3 > 0, 0.0, numbers(0, 300) + 0.4)
    centres = kmeans(values, 8)
    assert int((centres == 0).sum()) == 1
    rest = values[values != 0]
    torch.testing.assert_close(centres[centres != 0], kmeans(rest, 7))


@given(seed=st.integers(0, 2**16), count=st.sampled_from([3, 4, 8, 16]))
def test_places_are_those_of_the_nearest_entries_in_any_order(seed: int, count: int) -> None:
    values, entries = numbers(seed, 60), numbers(seed + 1, count)
    places = nearest_entries(values, entries)
    distance = (values - entries[places]).abs()
    assert bool((distance <= (values[:, None] - entries[None]).abs().amin(1) + 1e-6).all())


@pytest.mark.parametrize("count", [3, 4, 8, 16])
def test_signed_codes_take_the_entries_that_places_do(count: int) -> None:
    places = torch.arange(count)
    codes = index_codes(places, count)
    assert (int(codes.min()), int(codes.max())) == (-(count // 2), count - count // 2 - 1)
    assert torch.equal(torch.arange(count)[codes], places)


def test_gradients_of_an_entry_are_summed_over_its_weights() -> None:
    weight = torch.tensor([[-1.0, 0.1, 0.9, 1.2], [0.0, -0.7, 0.2, 1.0]], requires_grad=True)
    entries = torch.tensor([-1.0, 0.25, 1.0], requires_grad=True)
    gradient = torch.arange(1.0, 9.0).reshape(2, 4)
    values = on_entries(weight, entries, entry_step(entries))
    values.backward(gradient)
    assert weight.grad is not None
    assert entries.grad is not None
    assert torch.equal(weight.grad, gradient)
    sums = torch.tensor([1.0 + 6.0, 2.0 + 5.0 + 7.0, 3.0 + 4.0 + 8.0])
    torch.testing.assert_close(entries.grad / entries.grad[0], sums / sums[0])
    assert float(entries.grad[0]) > 0


def test_an_entry_of_zero_stays_and_one_that_is_stored_as_zero_does_not() -> None:
    entries = torch.tensor([0.0, 0.001, 1.0], requires_grad=True)
    step = entry_step(entries)
    assert entry_codes(entries, step).tolist() == [0.0, 0.0, 127.0]
    on_entries(torch.tensor([-0.1, 0.001, 0.8]), entries, step).sum().backward()
    assert entries.grad is not None
    assert float(entries.grad[0]) == 0.0


def test_positions_between_nearly_equal_entries_have_the_gradients_of_a_step() -> None:
    entries = torch.tensor([-1.0, -1.0 + 1e-6, 0.5, 1.0])
    weight = torch.tensor([-1.0 + 5e-7, -0.25], requires_grad=True)
    places = between(weight, entries, entry_step(entries))
    places.sum().backward()
    assert weight.grad is not None
    assert places.tolist() == pytest.approx([0, 1.5], abs=1e-3)
    assert weight.grad.tolist() == pytest.approx([LARGEST, 1 / 1.5])
    assert float(entry_step(torch.zeros(4))) == pytest.approx(1 / LARGEST)


@pytest.mark.parametrize("name", ["codebook2", "codebook3", "codebook4"])
def test_a_layer_has_as_many_values_as_its_format_says(name: str) -> None:
    layer = QuantizedLinear(nn.Linear(40, 30), name, ActivationQuantizer(fixed=(0.1, 0)))
    packed, weight = layer.packed(), layer.quantized()[0].detach()
    assert packed.codebook is not None
    assert packed.scales.shape == ()
    assert 2 < len(weight.unique()) <= 2 ** FORMATS[name].bits
    assert torch.equal(packed.codebook[packed.codes.long()].float() * packed.scales, weight)
    assert len(weight.unique().diff().unique()) > 1  # uneven


def test_three_entries_are_trained_ternary_quantization() -> None:
    """Two learned scales and a zero that stays, where weights were masked."""
    linear = nn.Linear(12, 8)
    linear.weight.data[linear.weight.data.abs() < 0.1] = 0.0
    layer = QuantizedLinear(linear, Format("ttq", 2, range(-1, 2), "codebook"), ActivationQuantizer(fixed=(0.1, 0)))
    assert layer.entries is not None
    optimizer = torch.optim.SGD([layer.entries], lr=0.1)
    before = layer.entries.detach().clone()
    layer.quantized()[0].square().sum().backward()
    optimizer.step()
    after = layer.entries.detach()
    assert float(before[1]) == float(after[1]) == 0.0
    assert float(before[0]) < float(after[0]) < 0 < float(after[2]) < float(before[2])
    assert set(layer.packed().codes.flatten().tolist()) == {-1, 0, 1}
