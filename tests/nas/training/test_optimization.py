"""Schedules equal their closed forms; optimizers get the decay groups; the L1 penalty and the moving average."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from trainings import recipe_of

from nas.study import Recipe
from nas.training.optimization import FIRST_RATE, MovingAverage, add_l1, make_optimizer, penalised, rate_factor

progresses = st.floats(0, 1, exclude_max=True, allow_subnormal=False)
CLOSED_FORMS: dict[str, Callable[[float], float]] = {
    "cosine": lambda p: math.cos(math.pi * p / 2) ** 2,
    "one_cycle": lambda p: 0.04 + 3.84 * p if p < 0.25 else math.cos(math.pi * (p - 0.25) / 1.5) ** 2,
    "linear": lambda p: 1 - p,
    "constant": lambda p: 1.0,
    "exponential": lambda p: math.exp(p * math.log(0.2)),
    "step": lambda p: 1.0 if p < 0.3 else 0.2 if p < 0.6 else 0.04,
}


def recipe(**keys: Any) -> Recipe:
    return recipe_of(**{"gamma": 0.2, "milestones": (0.3, 0.6), **keys})


@pytest.mark.parametrize("schedule", CLOSED_FORMS)
@given(progress=progresses)
def test_schedules_equal_their_closed_forms(schedule: str, progress: float) -> None:
    found = rate_factor(recipe(schedule=schedule), progress)
    assert found == pytest.approx(CLOSED_FORMS[schedule](progress), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("schedule", CLOSED_FORMS)
@given(progress=progresses, warm_up=st.floats(0.01, 0.9))
def test_every_schedule_may_warm_up(schedule: str, progress: float, warm_up: float) -> None:
    found = rate_factor(recipe(schedule=schedule, warm_up=warm_up), progress)
    if progress < warm_up:
        assert found == pytest.approx(FIRST_RATE + (1 - FIRST_RATE) * progress / warm_up)
        return
    left = progress if schedule == "step" else (progress - warm_up) / (1 - warm_up)
    expected = {**CLOSED_FORMS, "one_cycle": CLOSED_FORMS["cosine"]}[schedule](left)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3))


OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "rmsprop": torch.optim.RMSprop,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_get_the_decay_groups(name: str) -> None:
    network = small_network()
    optimizer = make_optimizer(network, recipe(optimizer=name, weight_decay=0.5, momentum=0.7))
    assert type(optimizer) is OPTIMIZERS[name]
    decaying, others = optimizer.param_groups
    assert [id(p) for p in decaying["params"]] == [id(network[0].weight), id(network[3].weight)]
    assert {id(p) for p in others["params"]} == {id(p) for p in network.parameters() if p.dim() == 1}
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.5, 0.0)
    assert decaying.get("momentum", 0.7) == 0.7
    assert decaying.get("nesterov", name == "sgd") == (name == "sgd")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_is_decoupled_for_adamw_alone(name: str) -> None:
    """With a gradient of zero decoupled decay shrinks by lr * decay; coupled decay is a gradient, scaled as others."""
    weight = nn.Parameter(torch.tensor([[2.0, -0.5]]))
    network = nn.Module()
    network.weight = weight
    optimizer = make_optimizer(network, recipe(optimizer=name, weight_decay=0.1, learning_rate=0.01, momentum=0.0))
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    moved = (torch.tensor([[2.0, -0.5]]) - weight).detach()
    if name in ("adamw", "sgd"):
        assert torch.allclose(moved, 0.01 * 0.1 * torch.tensor([[2.0, -0.5]]), atol=1e-7)
    else:  # normalised: a step of a size that does not depend on the weight's
        assert float(moved[0, 0]) == pytest.approx(-float(moved[0, 1]), rel=1e-4)
        assert float(moved[0, 0]) > 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_default_rates_descend(name: str) -> None:
    network, chosen = small_network(), recipe(optimizer=name)
    optimizer = make_optimizer(network, chosen)
    assert optimizer.param_groups[0]["lr"] == chosen.peak_learning_rate
    images, labels = torch.randn(12, 2, 3, 3), torch.arange(12) % 3
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.1


def test_l1_adds_the_sign_to_the_gradient_of_weights_alone() -> None:
    network = small_network()
    network(torch.randn(4, 2, 3, 3)).square().sum().backward()
    before = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    add_l1(penalised(network), 0.25)
    for name, p in network.named_parameters():
        added = 0.25 * p.detach().sign() if p.dim() > 1 else torch.zeros_like(p)
        assert p.grad is not None
        assert torch.allclose(p.grad, before[name] + added), name


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.floats(0, 0.999))
def test_moving_average_against_its_sum(values: list[float], decay: float) -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average, expected = MovingAverage(network, decay), 0.0
    for n, value in enumerate(values):
        nn.init.constant_(network.weight, value)
        average.update()
        own = min(decay, (1 + n) / (10 + n))
        expected = own * expected + (1 - own) * value
    with average.applied():
        assert float(network.weight.detach()) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert float(network.weight.detach()) == pytest.approx(values[-1])
    average.apply()
    assert float(network.weight.detach()) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_batch_norm_statistics_are_averaged_and_counters_are_not() -> None:
    network = small_network()
    average = MovingAverage(network, 0.5)
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.running_mean.fill_(4.0)
    norm.num_batches_tracked.fill_(7)
    average.update()  # decay 1/10
    average.apply()
    assert torch.allclose(norm.running_mean, torch.tensor(3.6))
    assert int(norm.num_batches_tracked) == 7


def test_statistics_of_features_are_averaged_too() -> None:
    norm = nn.BatchNorm1d(2)
    average = MovingAverage(nn.Sequential(nn.Linear(3, 2), norm), 0.5)
    assert norm.running_var is not None
    norm.running_var.fill_(11.0)
    average.update()  # decay 1/10, from 1
    average.apply()
    assert torch.allclose(norm.running_var, torch.tensor(10.0))


def test_moving_average_is_restored() -> None:
    network = small_network()
    average = MovingAverage(network, 0.9)
    nn.init.ones_(network[3].weight)
    average.update()
    again = MovingAverage(small_network(), 0.9)
    again.load_state_dict(average.state_dict())
    for own, other in zip(average.state_dict()["average"], again.state_dict()["average"], strict=True):
        assert torch.equal(own, other)
    assert again.state_dict()["updates"] == 1


def test_weights_decay_and_biases_do_not() -> None:
    network = small_network()
    groups = make_optimizer(network, recipe(weight_decay=0.5)).param_groups
    decaying = {id(parameter) for parameter in groups[0]["params"]}
    assert decaying == {id(module.weight) for module in network if isinstance(module, nn.Conv2d | nn.Linear)}
    assert (groups[0]["weight_decay"], groups[1]["weight_decay"]) == (0.5, 0.0)
    assert len(decaying) + len(groups[1]["params"]) == len(list(network.parameters()))
