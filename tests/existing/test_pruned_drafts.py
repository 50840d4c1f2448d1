"""Groups of random networks as `compressors.pruning` cuts them: what one room says of channels is what another does."""

from __future__ import annotations

import random

import torch
from cut_by_hand import masked, removed_from
from drafted import CLASSES, built
from drafts import Draft, drafts
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from compressors.folding import fold_batch_norm
from compressors.pruning import Group, prune
from search_spaces.existing.blueprint import INPUT, Blueprint
from search_spaces.existing.groups import groups_of
from search_spaces.existing.parts import layers_of

torch.set_num_threads(1)
SIZE = 8


def scores(_: nn.Module, group: Group) -> Tensor:
    """In an order of the group's own."""
    order = list(range(group.width))
    random.Random(group.name).shuffle(order)
    return torch.tensor(order, dtype=torch.float32)


@given(blueprint=drafts(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_cut_is_what_nobody_reads(blueprint: Blueprint, data: st.DataObject) -> None:
    torch.manual_seed(0)
    groups = groups_of(blueprint, SIZE)
    check(blueprint, {group.name: data.draw(st.integers(1, group.width)) for group in groups})


def test_one_channel_is_taken_of_each_that_go_together() -> None:
    """A convolution in groups makes four channels one; every fourth of them is selected behind it."""
    draft = Draft()
    x = draft.conv("grouped", draft.conv("begin", INPUT, 8), 8, split=2)
    blueprint = draft.done(draft.conv("after", draft.select(x, [0, 4]), 6))
    check(blueprint, {group.name: 1 for group in groups_of(blueprint, SIZE)})


def check(blueprint: Blueprint, kept: dict[str, int]) -> None:
    network, groups = built(blueprint), groups_of(blueprint, SIZE)
    whole = built(blueprint)
    whole.load_state_dict(network.state_dict())
    prune(network, groups, kept, importance=scores)
    gone = {g.name: scores(network, g).argsort()[: g.width - kept[g.name]].tolist() for g in groups}
    masked(whole, removed_from(groups, gone))
    images = torch.rand(2, blueprint.input_channels, SIZE, SIZE, dtype=torch.float64)
    with torch.no_grad():
        found, expected = network(images), whole(images)
    scale = float(expected.abs().max()) + 1e-9
    torch.testing.assert_close(found / scale, expected / scale, rtol=1e-6, atol=1e-9)
    folded = fold_batch_norm(network)
    sizes = {layer.name: layer.weight_count for layer in layers_of(blueprint, SIZE, num_classes=CLASSES, kept=kept)}
    assert sizes == {name: folded.get_submodule(name).weight.numel() for name in sizes}
