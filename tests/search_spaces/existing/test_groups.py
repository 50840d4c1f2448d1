"""Channel groups of known networks, by name, width and place."""

from __future__ import annotations

import pytest
from drafts import DRAFTS, Draft, normed, perceptron

from search_spaces.existing.blueprint import INPUT
from search_spaces.existing.groups import fixed_layers, grouped, groups_of
from search_spaces.layers import ChannelGroup

SIZE = 8
# Network -> (name, width, unit) of the groups that one layer writes, and of those that several write.
EXPECTED: dict[str, tuple[list[tuple[str, int, int]], list[tuple[str, int, int]]]] = {
    "residual": (
        [("layer1.0.conv1.width", 6, 1), ("layer1.1.conv1.width", 6, 1), ("layer2.0.conv1.width", 8, 1)],
        [("conv1.width", 6, 1), ("layer2.0.conv2.width", 8, 1)],
    ),
    "dense": (
        [
            ("features.conv0.0.width", 4, 1),
            ("features.denseblock1.denselayer1.conv1.width", 6, 1),
            ("features.denseblock1.denselayer1.conv2.width", 3, 1),
            ("features.denseblock1.denselayer2.conv1.width", 6, 1),
            ("features.denseblock1.denselayer2.conv2.width", 3, 1),
            ("features.transition1.conv.width", 5, 1),
        ],
        [],
    ),
    # Half of what the first unit passes on is passed on again.
    "shuffled": (
        [
            ("conv1.0.width", 2, 1), ("conv1.0.width2", 2, 1), ("conv1.0.width3", 4, 1),
            ("stage2.0.branch2.0.width", 4, 1), ("stage2.0.branch2.5.width", 2, 1),
            ("stage2.0.branch2.5.width2", 2, 1), ("stage2.1.branch2.0.width", 4, 1),
            ("stage2.1.branch2.5.width", 4, 1), ("conv5.0.width", 6, 1),
        ],
        [],
    ),
    "squeezed": (
        [
            ("features.1.block.0.0.width", 12, 1), ("features.1.block.2.fc1.width", 3, 1),
            ("features.2.0.width", 4, 4),
        ],
        [("features.0.0.width", 4, 1)],
    ),
    "flattened": ([("features.0.width", 5, 1), ("features.2.width", 7, 1), ("classifier.0.width", 9, 1)], []),
    "normed": ([("0.width", 9, 1), ("3.width", 7, 1)], []),
    "fire": (
        [
            ("features.0.width", 6, 1), ("features.3.squeeze.width", 4, 1),
            ("features.3.expand1x1.width", 5, 1), ("features.3.expand3x3.width", 5, 1),
        ],
        [],
    ),
    "shared": ([], [("first.width", 6, 1)]),
}  # fmt: skip


def of(name: str, group: str) -> ChannelGroup:
    return next(found for found in groups_of(DRAFTS[name](), SIZE) if found.name == group)


@pytest.mark.parametrize("name", DRAFTS)
def test_names_and_widths(name: str) -> None:
    found, (inner, between) = grouped(DRAFTS[name](), SIZE), EXPECTED[name]
    assert [(group.name, group.width, group.unit) for group in found.inner] == inner
    assert [(group.name, group.width, group.unit) for group in found.between] == between
    assert groups_of(DRAFTS[name](), SIZE) == found.inner + found.between


def test_a_residual_width_is_tied_through_its_blocks() -> None:
    group = of("residual", "conv1.width")
    assert (group.spans, group.block) == ((), "conv1.width")
    assert group.members == (
        ("conv1", 0), ("bn1", 0), ("layer1.0.conv1", 1), ("layer1.0.conv2", 0), ("layer1.0.bn2", 0),
        ("layer1.1.conv1", 1), ("layer1.1.conv2", 0), ("layer1.1.bn2", 0), ("layer2.0.conv1", 1),
        ("layer2.0.downsample.0", 1),
    )  # fmt: skip


def test_a_width_within_a_part_belongs_to_it() -> None:
    group = of("residual", "layer2.0.conv1.width")
    assert group.block == "layer2.0"
    assert group.members == (("layer2.0.conv1", 0), ("layer2.0.bn1", 0), ("layer2.0.conv2", 1))


def test_a_concatenation_gives_offsets() -> None:
    group = of("dense", "features.denseblock1.denselayer1.conv2.width")
    behind = tuple((place,) for place in (4, 5, 6))
    assert dict(zip(group.members, group.spans, strict=True)) == {
        ("features.denseblock1.denselayer1.conv2", 0): None,
        ("features.denseblock1.denselayer2.norm1", 0): behind,
        ("features.denseblock1.denselayer2.conv1", 1): behind,
        ("features.transition1.norm", 0): behind,
        ("features.transition1.conv", 1): behind,
    }


def test_a_shuffle_gives_an_order() -> None:
    """The first unit gives channels 0, 4, 1, 5 | 2, 6, 3, 7 of (passed, worked on); the second halves them."""
    group = of("shuffled", "conv1.0.width2")
    places = dict(zip(group.members, group.spans, strict=True))
    assert {member: span for member, span in places.items() if "select" not in member[0]} == {
        ("conv1.0", 0): ((2,), (3,)),
        ("conv1.1", 0): ((2,), (3,)),
        ("stage2.1.branch2.0", 1): ((0,), (2,)),
    }
    assert {one.block for one in groups_of(DRAFTS["shuffled"](), SIZE) if "conv1.0" in one.name} == {"conv1"}


def test_a_selection_is_a_member_by_what_it_reads_and_gives() -> None:
    """The first one gives channels 0 to 3, the second 4 to 7: of the others it knows that they go before it."""
    group = of("shuffled", "conv1.0.width3")
    places = dict(zip(group.members, group.spans, strict=True))
    assert places["select_3", 1] == ((4,), (5,), (6,), (7,))
    assert ("select_3", 0) not in places
    assert places["select_4", 0] is None
    assert places["select_4", 1] == ((4,), (5,), (6,), (7,))


def test_a_flattened_channel_is_many_features() -> None:
    group = of("flattened", "features.2.width")
    assert group.members == (("features.2", 0), ("classifier.0", 1))
    assert group.spans == (None, tuple(tuple(range(16 * c, 16 * c + 16)) for c in range(7)))


def test_a_convolution_in_groups_ties_what_each_reads_and_writes() -> None:
    group = of("squeezed", "features.2.0.width")
    fours = tuple(tuple(range(4 * g, 4 * g + 4)) for g in range(4))
    sixes = tuple(tuple(range(6 * g, 6 * g + 6)) for g in range(4))
    assert dict(zip(group.members, group.spans, strict=True)) == {
        ("features.2.0", 0): fours,
        ("features.2.1", 0): fours,
        ("features.3.0", 0): sixes,
        ("features.3.1", 0): sixes,
        ("classifier", 1): sixes,
    }


def test_a_depthwise_layer_of_two_filters_a_channel() -> None:
    draft = Draft()
    x = draft.conv("deep", draft.conv("wide", INPUT, 4), 8, split=4)
    (group,) = groups_of(draft.done(x), SIZE)
    twos = tuple((2 * c, 2 * c + 1) for c in range(4))
    assert (group.width, group.unit) == (4, 1)
    assert dict(zip(group.members, group.spans, strict=True)) == {("wide", 0): None, ("deep", 0): twos, ("fc", 1): twos}


def test_a_layer_that_reads_its_own_outputs_is_cut_along_both_axes() -> None:
    group = of("shared", "first.width")
    assert group.members == (("first", 0), ("again", 0), ("again", 1), ("fc", 1))


def test_channels_stand_in_the_order_in_which_the_first_member_writes_them() -> None:
    draft = Draft()
    first, second = draft.conv("first", INPUT, 3), draft.conv("second", INPUT, 3)
    (group,) = groups_of(draft.done(draft.add("add", first, draft.select(second, [2, 1, 0]))), SIZE)
    places = dict(zip(group.members, group.spans, strict=True))
    assert (places["first", 0], places["second", 0], places["fc", 1]) == (None, ((2,), (1,), (0,)), None)


def test_a_module_that_is_run_again_behind_others_keeps_its_inner_width() -> None:
    draft = Draft()
    x = draft.conv("stem", INPUT, 4)
    for run in ("", "_again"):
        inner = draft.conv(f"unit1.0{run}", x, 5, module="unit1.0" if run else "")
        x = draft.conv(f"unit1.1{run}", inner, 4, module="unit1.1" if run else "")
        x = draft.conv(f"between{run}", x, 4)
    inner, *others = grouped(draft.done(x), SIZE).inner
    assert all("unit1.0" not in group.name for group in others)
    assert (inner.name, inner.block, inner.members) == ("unit1.0.width", "unit1", (("unit1.0", 0), ("unit1.1", 1)))


def test_the_hidden_width_of_a_perceptron() -> None:
    (group,) = groups_of(perceptron(), 28)
    assert (group.name, group.width, group.members) == ("0.width", 128, (("0", 0), ("2", 1)))


def test_batch_norm_of_features_goes_with_its_linear_layer() -> None:
    assert [group.members for group in grouped(normed(), SIZE).all] == [
        (("0", 0), ("1", 0), ("3", 1)), (("3", 0), ("5", 0), ("7", 1)),
    ]  # fmt: skip


def test_an_image_that_is_repeated_to_three_channels() -> None:
    """The channels of images stay, wherever they go."""
    draft = Draft(channels=1)
    x = draft.conv("pixels", draft.select(INPUT, [0, 0, 0]), 3, split=3)
    blueprint = draft.done(draft.conv("body", x, 4))
    assert [group.name for group in groups_of(blueprint, SIZE)] == ["body.width"]
    assert fixed_layers(blueprint, SIZE) == {
        "pixels": "its outputs are tied to the channels of the image",
        "fc": "its outputs are the classes",
    }


def test_what_can_only_go_together_is_fixed() -> None:
    """A shuffle between two convolutions in groups ties all channels of both."""
    draft = Draft()
    x = draft.conv("first", INPUT, 4, kernel=1)
    x = draft.select(draft.conv("second", x, 4, split=2), [0, 2, 1, 3])
    blueprint = draft.done(draft.conv("third", x, 6, split=2))
    assert groups_of(blueprint, SIZE) == ()
    together = "its {} outputs can only go together"
    assert fixed_layers(blueprint, SIZE) == {
        "first": together.format(4), "second": together.format(4), "third": together.format(6),
        "fc": "its outputs are the classes",
    }  # fmt: skip


def test_a_selection_holds_a_group_whole_or_not_at_all() -> None:
    """Otherwise all that it gives might be cut."""
    draft = Draft()
    x = draft.conv("body", INPUT, 6)
    sides = [draft.add(op, draft.select(x, half)) for op, half in (("relu", [0, 1]), ("tanh", [2, 3, 4, 5]))]
    assert [group.width for group in groups_of(draft.done(draft.concatenate(*sides)), SIZE)] == [2, 4]


@pytest.mark.parametrize("name", DRAFTS)
def test_fixed_is_the_head_alone(name: str) -> None:
    blueprint = DRAFTS[name]()
    assert fixed_layers(blueprint, SIZE) == {blueprint.head: "its outputs are the classes"}
