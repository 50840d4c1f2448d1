"""Channel groups by brute force: a network cut along them is the network in which nothing reads what was cut."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest
import torch
from cut_by_hand import CutByHand, masked, removed_from
from drafted import CLASSES, built
from drafts import DRAFTS, drafts
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.existing.blueprint import Blueprint
from search_spaces.existing.executed import folded_norms
from search_spaces.existing.groups import groups_of
from search_spaces.existing.parts import layers_of
from search_spaces.layers import ChannelGroup

SIZE = 8


def chosen(groups: Sequence[ChannelGroup], kept: Mapping[str, int], seed: int) -> dict[str, list[int]]:
    """Random channels that go, as many as are not kept."""
    rng = random.Random(seed)
    return {g.name: sorted(rng.sample(range(g.width), g.width - kept.get(g.name, g.width))) for g in groups}


def check(blueprint: Blueprint, kept: Mapping[str, int], seed: int) -> None:
    """Cut and mask the same channels: equal logits; shapes and multiply-accumulates are those foretold."""
    torch.manual_seed(seed)
    network, images = built(blueprint), torch.rand(2, blueprint.input_channels, SIZE, SIZE, dtype=torch.float64)
    groups = groups_of(blueprint, SIZE)
    removed = removed_from(groups, chosen(groups, kept, seed))
    with torch.no_grad():
        cut = CutByHand(network, blueprint, removed)
        logits = cut(images)
        masked(network, removed)
        expected = network(images)
    scale = float(expected.abs().max()) + 1e-9
    torch.testing.assert_close(logits / scale, expected / scale, rtol=1e-6, atol=1e-9)
    check_layers(blueprint, kept, cut)


def check_layers(blueprint: Blueprint, kept: Mapping[str, int], cut: CutByHand) -> None:
    layers, folded = layers_of(blueprint, SIZE, num_classes=CLASSES, kept=kept), folded_norms(blueprint)
    assert [layer.name for layer in layers] == [path for path in cut.ran if path not in folded]
    for layer in layers:
        shape, macs = cut.ran[layer.name]
        assert shape[:2] == (layer.out_channels, layer.in_channels // layer.groups)[: len(shape)]
        assert layer.macs == macs


@pytest.mark.parametrize("name", DRAFTS)
@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
def test_cut_is_masked(name: str, ratio: float) -> None:
    blueprint = DRAFTS[name]()
    kept = {group.name: max(1, round(group.width * (1 - ratio))) for group in groups_of(blueprint, SIZE)}
    check(blueprint, kept, seed=1)


@pytest.mark.parametrize("name", DRAFTS)
def test_each_group_alone(name: str) -> None:
    blueprint = DRAFTS[name]()
    for group in groups_of(blueprint, SIZE):
        check(blueprint, {group.name: 1}, seed=2)


@given(blueprint=drafts(), data=st.data())
@settings(max_examples=80, deadline=None)
def test_random_networks(blueprint: Blueprint, data: st.DataObject) -> None:
    kept = {group.name: data.draw(st.integers(1, group.width)) for group in groups_of(blueprint, SIZE)}
    check(blueprint, kept, seed=3)
