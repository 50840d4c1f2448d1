"""Groups of a pruned network: cut again by them, it is the one that was cut at once."""

from __future__ import annotations

import copy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from joined import HIDDEN, A, B, Joined, images
from pair import MIDDLE

from compressors.pruning import Group, prune
from compressors.pruning.narrowed import narrowed

torch.set_num_threads(1)
WIDTHS = {A: 4, B: 3, HIDDEN: 5}
counts = st.fixed_dictionaries({name: st.integers(1, width) for name, width in WIDTHS.items()})


def last(_: object, group: Group) -> torch.Tensor:
    return torch.arange(group.width, dtype=torch.float32)


@settings(max_examples=40, deadline=None)
@given(counts, counts)
def test_what_is_cut_twice_is_what_is_cut_at_once(once: dict[str, int], twice: dict[str, int]) -> None:
    """Of channels that lie side by side; each time the last ones stay, so that numbers move."""
    least = {name: min(once[name], twice[name]) for name in once}
    whole = Joined(0, range(13)).eval()
    groups, step = whole.groups(), copy.deepcopy(whole)
    prune(whole, groups, least, importance=last)
    prune(step, groups, once, importance=last)
    found = list(narrowed(groups, once))
    assert {group.name: group.width for group in found} == once
    prune(step, found, least, importance=last)
    assert torch.equal(step(images()), whole(images()))


def test_channels_behind_a_shuffle_are_told_apart_only_where_none_went() -> None:
    groups = Joined().groups()
    assert [group.name for group in narrowed(groups, {A: 2})] == [HIDDEN]
    assert [group.name for group in narrowed(groups, {HIDDEN: 2})] == [HIDDEN]


def test_whole_axes_stay_whole_axes() -> None:
    (found,) = narrowed([MIDDLE], {"middle": 2})
    assert (found.name, found.width, found.members, found.spans) == ("middle", 2, MIDDLE.members, ())
