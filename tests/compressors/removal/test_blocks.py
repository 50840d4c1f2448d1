"""Removing blocks: what is left is the skip, and what has none is refused by name."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from unsupported import hooked

from compressors.pipeline import Options, apply_step, compress
from compressors.plan import CompressionPlan
from compressors.removal import remove_blocks
from compressors.requests.removed import RemoveBlocks
from compressors.steps import STEPS, Request
from compressors.support import Unsupported
from search_spaces.blocks import FusedInvertedResidual, InvertedResidual, Plain, Residual, ShuffleUnit

torch.set_num_threads(1)

WITH_SKIP = {
    "inverted_residual": InvertedResidual(4, 4, inner=8, kernel=3, stride=1, activation="relu", squeezed=8),
    "fused_inverted_residual": FusedInvertedResidual(4, 4, inner=8, kernel=3, stride=1, activation="relu"),
    "residual": Residual(4, 4, inner=4, kernel=3, stride=1, activation="hardswish"),
}
WITHOUT = {
    "strided": InvertedResidual(4, 4, inner=8, kernel=3, stride=2, activation="relu"),
    "wider": FusedInvertedResidual(4, 6, inner=8, kernel=3, stride=1, activation="relu"),
    "shortcut": Residual(4, 6, inner=4, kernel=3, stride=1, activation="relu"),
    "shuffle": ShuffleUnit(4, 4, inner=4, kernel=3, stride=1, activation="relu"),
    "plain": Plain(4, 4, inner=4, kernel=3, stride=1, activation="relu"),
}


def network(middle: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(stem, nn.Sequential(copy.deepcopy(middle), nn.ReLU()), nn.Conv2d(4, 3, 1)).eval()


def images() -> Tensor:
    return torch.rand(2, 2, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", WITH_SKIP)
def test_a_removed_block_passes_its_input_on(kind: str) -> None:
    given = network(WITH_SKIP[kind])
    expected = given[2](given[1][1](given[0](images())))
    assert not torch.allclose(given(images()), expected)
    remove_blocks(given, ["1.0"])
    assert torch.equal(given(images()), expected)
    assert sum(p.numel() for p in given[1].parameters()) == 0


@pytest.mark.parametrize("kind", WITHOUT)
def test_a_block_without_a_skip_is_refused_before_any_goes(kind: str) -> None:
    given = nn.Sequential(network(WITH_SKIP["residual"]), network(WITHOUT[kind]))
    with pytest.raises(Unsupported, match=r"cannot remove block 1\.1\.0: expected one that adds its input"):
        remove_blocks(given, ["0.1.0", "1.1.0"])
    assert isinstance(given[0][1][0], Residual)


def test_a_sum_that_does_not_hold_the_input_is_no_skip() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            out = self.conv(x)
            return out + out

    with pytest.raises(Unsupported, match=r"cannot remove block 1\.0"):
        remove_blocks(network(Sum()), ["1.0"])


def test_unknown_names_and_hooks_are_refused() -> None:
    with pytest.raises(ValueError, match="the network has no block 'stage7'"):
        remove_blocks(network(WITH_SKIP["residual"]), ["stage7"])
    with pytest.raises(Unsupported, match="forward hooks"):
        remove_blocks(network(hooked(copy.deepcopy(WITH_SKIP["residual"]))), ["1.0"])


def test_values_decide_nothing_so_that_a_checkpoint_can_be_loaded() -> None:
    one, other = network(WITH_SKIP["residual"]), network(WITH_SKIP["residual"])
    for parameter in other.parameters():
        parameter.data.normal_()
    request = Request(STEPS["blocks_removed"], RemoveBlocks(("1.0",)))
    batches = [images()]
    shrunk = apply_step(one, request, Options(), batches)
    apply_step(other, request, Options()).load_state_dict(shrunk.state_dict())
    assert torch.equal(other.eval()(images()), shrunk.eval()(images()))


def test_as_a_step_it_estimates_batch_norm_again_and_folds() -> None:
    given = network(WITH_SKIP["inverted_residual"])
    plan = CompressionPlan(steps={"blocks_removed": {"1.0": True}}, formats={"2": "int8"})
    found = compress(given, plan, Options(), [images()])
    assert not [m for m in found.modules() if isinstance(m, nn.BatchNorm2d | nn.Identity)]
    by_hand = copy.deepcopy(given)
    by_hand[1][0] = nn.Identity()
    plain = compress(by_hand, CompressionPlan(formats={"2": "int8"}), Options(), [images()])
    assert not torch.equal(found(images()), plain(images()))  # its norm has the statistics of these images
    norm = given[0][1]
    seen = given[0][0](images())
    norm.running_mean, norm.running_var = seen.mean((0, 2, 3)).detach(), seen.var((0, 2, 3)).detach()
    by_hand = copy.deepcopy(given)
    by_hand[1][0] = nn.Identity()
    plain = compress(by_hand, CompressionPlan(formats={"2": "int8"}), Options(), [images()])
    assert torch.allclose(found(images()), plain(images()), atol=1e-5)
    assert isinstance(given[1][0], InvertedResidual)
