"""Importances: the score of each channel, on two layers small enough to see every number."""

from __future__ import annotations

import pytest
import torch
from pair import MIDDLE, ROWS, Channels, Pair
from torch import nn

from compressors.pruning import IMPORTANCES, batch_norm_scale, prune, weight_norm
from compressors.pruning.importances import moment_norm

torch.set_num_threads(1)


@pytest.mark.parametrize(("name", "channel"), [("l1", 1), ("l2", 0), ("bn_scale", 2)])
def test_each_importance_keeps_its_own_channel(name: str, channel: int) -> None:
    pair = Pair()
    prune(
        pair,
        [MIDDLE],
        {"middle": 1},
        importance=lambda module, group: IMPORTANCES[name].score(module, [group], None)[group.name],
    )
    assert tuple(pair.first.weight.flatten().tolist()) == ROWS[channel]
    assert pair.first.bias.tolist() == pytest.approx([0.1 * (channel + 1)])
    assert pair.norm.weight.tolist() == pytest.approx([[0.1, 0.2, -5.0][channel]])
    assert (pair.first.out_channels, pair.norm.num_features, pair.second.in_channels) == (1, 1, 1)
    assert pair.second.bias.shape == (1,)


def test_no_member_drowns_the_others() -> None:
    """A producer in small units counts as much as a consumer in large ones."""
    pair = Pair()
    pair.first.weight.data *= 1e-3  # mean score 1, channel by channel 1.06, 1.41, 0.53
    pair.second.weight.data = torch.tensor([1100.0, 1000.0, 900.0])[None, :, None, None]  # 1.1, 1.0, 0.9
    scores = weight_norm(1)(pair, MIDDLE)
    assert scores.tolist() == pytest.approx([3 / 8.5 * 3 + 1.1, 4 / 8.5 * 3 + 1.0, 1.5 / 8.5 * 3 + 0.9], rel=1e-5)


def test_a_member_of_zeros_says_nothing() -> None:
    pair = Pair()
    pair.second.weight.data.zero_()
    assert weight_norm(1)(pair, MIDDLE).tolist() == pytest.approx([9 / 8.5, 12 / 8.5, 4.5 / 8.5], rel=1e-5)


def test_bn_scale_needs_a_batch_norm() -> None:
    bare = Channels("middle", 3, (("first", 0), ("second", 1)))
    with pytest.raises(ValueError, match="group middle: bn_scale needs a batch norm"):
        batch_norm_scale(Pair(), bare)


def test_bn_scale_needs_scales() -> None:
    pair = Pair()
    pair.norm = nn.BatchNorm2d(3, affine=False)
    with pytest.raises(ValueError, match=r"norm \(BatchNorm2d\): affine False, supported: True"):
        batch_norm_scale(pair, MIDDLE)


def test_a_member_of_another_width_is_named() -> None:
    wide = Channels("middle", 4, MIDDLE.members)
    with pytest.raises(ValueError, match="group middle: first has 3 channels, expected 4"):
        weight_norm(1)(Pair(), wide)


def test_a_layer_that_was_not_trained_yet_counts_by_its_weight() -> None:
    """As a factor just made, and a merged layer that has the name of one that was trained."""
    pair, moments = Pair(), torch.tensor([1.0, 2.0, 6.0])[:, None, None, None].expand_as(Pair().first.weight)
    second = pair.second.weight.detach().abs().flatten()
    expected = torch.tensor([1.0, 2.0, 6.0]) / 3 + second / second.mean()
    for others in ({}, {"second.weight": torch.ones(1, 5, 1, 1)}):
        found = moment_norm({"first.weight": moments, **others})(pair, MIDDLE)
        assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
