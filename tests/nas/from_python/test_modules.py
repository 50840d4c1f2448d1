"""A module of the caller's is read as it is, and known by what it computes and its weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from own_network import Own, own
from torch import nn

from nas.errors import InputError
from nas.from_python.modules import given_module, is_module
from nas.from_python.spaces import given_space
from nas.study.file import study_of
from search_spaces.existing.known import weights_of
from search_spaces.existing.space import ExistingSpace


def test_a_name_tells_networks_apart() -> None:
    name = given_module(own()).name
    assert name.startswith("Own-")
    assert name == given_module(own()).name
    assert name != given_module(own(seed=1)).name
    assert name != given_module(own(seen=True)).name
    assert name != given_module(own().add_module("x", nn.Linear(1, 1)) or nn.Sequential(own())).name


def test_what_becomes_of_a_module_later_is_not_seen() -> None:
    network = own(seen=True)
    given, before = given_module(network), network.first.weight.detach().clone()
    with torch.no_grad():
        network.first.weight.add_(1.0)
    torch.testing.assert_close(given.read.state["first.weight"], before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("network", "keys", "weights"),
    [
        (own(seen=True), {}, "own"),
        (own(), {}, "none"),
        (own(), {"weights": "own"}, "own"),
        (own(seen=True), {"weights": "none"}, "none"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), {}, "own"),  # nothing tells
    ],
    ids=range(5),
)
def test_weights_that_were_never_trained_are_none(network: nn.Module, keys: dict[str, Any], weights: str) -> None:
    assert given_module(network).space(keys)["weights"] == weights


def test_it_is_what_its_study_asks_for() -> None:
    network = own(seen=True)
    space = given_space({"base": network, "input_size": 8}, None)
    study = study_of({"name": "x", "data": {"source": "digits"}, "space": dict(space.keys)})
    space.confirm(study)
    assert isinstance(study.space, ExistingSpace)
    known = study.space.known(1)
    state = weights_of(known.weights)
    assert isinstance(state, dict)
    torch.testing.assert_close(state["second.weight"], network.second.weight.detach(), rtol=0, atol=0)
    assert known.blueprint.head == "last"


def test_images_have_the_size_that_the_network_takes() -> None:
    perceptron = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 32), nn.ReLU(), nn.Linear(32, 10))
    assert given_space(perceptron, 8.0, channels=1).keys["input_size"] == 28
    assert given_space(own(), 12.0, channels=1).keys["input_size"] == 12
    assert given_space({"base": own(), "input_size": 16}, 12.0, channels=1).keys["input_size"] == 16


class Moody(nn.Module):
    """Answers otherwise the second time."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = own(), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.inner(x) * self.calls


def test_what_computes_something_else_is_refused() -> None:
    space = given_space({"base": Moody(), "input_size": 8}, None)
    study = study_of({"name": "x", "data": {"source": "digits"}, "space": dict(space.keys)})
    with pytest.raises(InputError, match="Moody"):
        space.confirm(study)


class Choosing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_what_cannot_be_read_is_refused_by_its_argument() -> None:
    with pytest.raises(InputError, match=r"^space: .*Choosing"):
        given_space(Choosing(), 8.0)
    with pytest.raises(InputError, match=r"^network: .*Choosing"):
        given_space(Choosing(), 8.0, argument="network")


@pytest.mark.parametrize("given", [None, 3, "32px", {"weights": "own"}])
def test_what_is_no_network_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match=r"^(network|space)"):
        given_space(given, 8.0, argument="network")


def test_modules_are_known_without_torch() -> None:
    assert is_module(own())
    assert not is_module(Own)
    assert not any(map(is_module, ("32px", {"base": own()}, None)))
