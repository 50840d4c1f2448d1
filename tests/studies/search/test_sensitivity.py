"""Sensitivities and the integer program of the ablation, against closed form and brute force."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

Import = Callable[[str], ModuleType]


def test_a_trace_is_that_of_the_whole_hessian(module: Import) -> None:
    """One linear layer: its Hessian is small enough to be written out."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2))
    images, labels = torch.randn(20, 3), torch.randint(0, 2, (20,))

    def loss(weight: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(images @ weight.reshape(2, 3).T + network[0].bias, labels)

    flat = network[0].weight.detach().flatten()
    expected = torch.autograd.functional.hessian(loss, flat).trace().item()
    found = module("sensitivity").hessian_traces(network, ["0"], images, labels, probes=800)
    assert found["0"] == pytest.approx(expected, rel=0.05)


def test_fewer_bits_round_worse_and_floats_not_at_all(module: Import) -> None:
    weight = torch.randn(8, 4, 3, 3)
    errors = [module("sensitivity").rounding_error(weight, name) for name in ("fp32", "int8", "int4", "int2")]
    assert errors[0] == 0
    assert errors[1] < errors[2] < errors[3] < float(weight.square().sum())


@pytest.mark.parametrize("seed", range(8))
def test_the_integer_program_finds_the_least_harm(module: Import, seed: int) -> None:
    random = np.random.default_rng(seed)
    names = ("int4", "int8", "fp32")
    harm = {f"g{g}": dict(zip(names, np.sort(random.random(3))[::-1].tolist(), strict=True)) for g in range(4)}
    size = {
        group: dict(zip(names, (random.integers(1, 9) * np.array([4, 8, 32])).tolist(), strict=True)) for group in harm
    }
    limit = 0.4 * sum(own["fp32"] for own in size.values())
    allowed = [
        chosen for chosen in itertools.product(names, repeat=4)
        if sum(size[group][name] for group, name in zip(harm, chosen, strict=True)) <= limit
    ]  # fmt: skip
    best = min(sum(harm[group][name] for group, name in zip(harm, chosen, strict=True)) for chosen in allowed)
    found = module("sensitivity").cheapest_harm(harm, size, limit)
    assert sum(harm[group][name] for group, name in found.items()) == pytest.approx(best)
    assert sum(size[group][name] for group, name in found.items()) <= limit
    assert module("sensitivity").cheapest_harm(harm, size, 1.0) is None
