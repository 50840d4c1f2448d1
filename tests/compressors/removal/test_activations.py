"""Removing activations: those of a block go, those of its gate and of other blocks stay; layers are merged exactly."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from unsupported import hooked

from compressors.removal import remove_activations
from compressors.support import Unsupported
from search_spaces.block_configs import Activation
from search_spaces.blocks import FusedInvertedResidual, InvertedResidual, Plain, Residual, ShuffleUnit

torch.set_num_threads(1)

KINDS = (nn.ReLU, nn.ReLU6, nn.Hardswish)


def block_of(kind: str, activation: Activation) -> nn.Module:
    sizes = {"kernel": 3, "stride": 1, "activation": activation}
    made: dict[str, nn.Module] = {
        "inverted": InvertedResidual(4, 4, inner=8, squeezed=8, **sizes),
        "fused": FusedInvertedResidual(4, 4, inner=16, **sizes),
        "residual": Residual(4, 4, inner=4, **sizes),
        "shuffle": ShuffleUnit(4, 4, inner=4, **sizes),
        "plain": Plain(4, 4, inner=4, **sizes),
    }
    return made[kind]


def network(block: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), block)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_(0.5, 1)
            module.running_var.uniform_(0.3, 3)
    return made.double().eval()


def images() -> Tensor:
    return torch.randn(3, 2, 7, 7, generator=torch.Generator().manual_seed(0)).double()


class Passing(nn.Module):
    """What an activation is to become, of a type that nothing else looks for."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def by_hand(given: nn.Module) -> nn.Module:
    made = copy.deepcopy(given)
    for name, child in list(made[2].named_children()):
        if type(child) in KINDS:
            setattr(made[2], name, Passing())
    return made


@pytest.mark.parametrize("activation", ["relu", "relu6", "hardswish"])
@pytest.mark.parametrize("kind", ["inverted", "fused", "residual", "shuffle", "plain"])
def test_a_block_computes_what_it_does_without_its_activations(kind: str, activation: Activation) -> None:
    given = network(block_of(kind, activation))
    before = given(images())
    expected = by_hand(given)(images())
    remove_activations(given, ["2"])
    assert torch.allclose(given(images()), expected, rtol=0, atol=1e-10 * float(expected.abs().max()))
    assert not torch.allclose(before, expected)
    left = {name for name, module in given.named_modules() if type(module) in KINDS}
    assert left == {"1"} | ({"2.squeeze_excite.activation"} if kind == "inverted" else set())


def test_what_is_linear_and_smaller_becomes_one_convolution() -> None:
    given = network(block_of("fused", "relu"))
    remove_activations(given, ["2"])
    convs = {name: tuple(m.weight.shape) for name, m in given[2].named_modules() if isinstance(m, nn.Conv2d)}
    assert convs == {"project": (4, 4, 3, 3)}
    assert [name for name, m in given[2].named_modules() if isinstance(m, nn.BatchNorm2d)] == ["project_bn"]


def test_a_merge_that_would_enlarge_the_block_is_left() -> None:
    sizes = {"kernel": 3, "stride": 1, "activation": "relu"}
    given = network(FusedInvertedResidual(4, 40, inner=4, **sizes))
    remove_activations(given, ["2"])
    assert {n for n, m in given[2].named_modules() if isinstance(m, nn.Conv2d)} == {"expand", "project"}


def test_the_last_activation_of_a_network_stays() -> None:
    given = nn.Sequential(nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU()), nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU6()))
    with pytest.raises(ValueError, match="expected at least one that stays"):
        remove_activations(given, ["0", "1"])
    assert isinstance(given[0][1], nn.ReLU)
    remove_activations(given, ["0"])
    assert isinstance(given[0][1], nn.Identity)


def test_what_cannot_be_done_is_named() -> None:
    given = network(block_of("plain", "relu"))
    with pytest.raises(ValueError, match="the network has no block 'x'"):
        remove_activations(given, ["x"])
    with pytest.raises(ValueError, match=r"block 2\.conv: expected an activation of its own"):
        remove_activations(given, ["2.conv"])
    hooked(given[2].activation)
    with pytest.raises(Unsupported, match=r"2\.activation \(ReLU\): forward hooks"):
        remove_activations(given, ["2"])


def test_random_numbers_are_not_touched() -> None:
    given = network(block_of("fused", "relu"))
    before = torch.random.get_rng_state()
    remove_activations(given, ["2"])
    assert torch.equal(torch.random.get_rng_state(), before)
