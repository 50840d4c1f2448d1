"""Random networks, cut by the compressor along the groups that were found: nothing that is left reads what is gone."""

from __future__ import annotations

import copy

import torch
from cut_by_hand import masked, removed_from
from drafts import Draft, drafts
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from compressors.pruning import prune
from search_spaces.existing.blueprint import INPUT, Blueprint
from search_spaces.existing.building import ExistingNetwork
from search_spaces.existing.groups import groups_of
from search_spaces.existing.parts import layers_of
from search_spaces.layers import ChannelGroup

torch.set_num_threads(1)
SIZE, CLASSES = 8, 3


def first_channels(_: nn.Module, group: ChannelGroup) -> Tensor:
    return -torch.arange(group.width, dtype=torch.float32)


def check(blueprint: Blueprint, kept: dict[str, int]) -> None:
    torch.manual_seed(0)
    network = ExistingNetwork(blueprint, CLASSES).double().eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.5 if "var" in name else torch.randn_like(value))
    groups, images = groups_of(blueprint, SIZE), torch.rand(2, blueprint.input_channels, SIZE, SIZE).double()
    cut = copy.deepcopy(network)
    prune(cut, groups, kept, importance=first_channels)
    masked(network, removed_from(groups, {group.name: range(kept[group.name], group.width) for group in groups}))
    with torch.no_grad():
        expected = network(images)
        scale = float(expected.abs().max()) + 1e-9
        torch.testing.assert_close(cut(images) / scale, expected / scale, rtol=1e-6, atol=1e-9)
    for layer in layers_of(blueprint, SIZE, num_classes=CLASSES, kept=kept):
        shape = (layer.out_channels, layer.in_channels // layer.groups)
        weight = cut.get_parameter(f"{layer.name}.weight")
        assert tuple(weight.shape[:2]) == shape[: weight.dim()], layer.name


@given(blueprint=drafts(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_random_networks(blueprint: Blueprint, data: st.DataObject) -> None:
    check(blueprint, {group.name: data.draw(st.integers(1, group.width)) for group in groups_of(blueprint, SIZE)})


def test_a_convolution_in_groups_that_gives_fewer_channels_than_it_reads() -> None:
    """What counts as one channel is two where it is written, and one behind."""
    draft = Draft()
    x = draft.conv("split", draft.add("relu", draft.conv("wide", INPUT, 8)), 4, split=4)
    blueprint = draft.done(draft.add("relu", x))
    (group,) = groups_of(blueprint, SIZE)
    assert (group.width, group.unit, group.spans[-1]) == (4, 2, ((0,), (1,), (2,), (3,)))
    check(blueprint, {group.name: 3})
