"""Layers, costs and channel groups of a network small enough to compute by hand."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import InvertedResidualConfig, ResidualConfig, ShuffleConfig
from search_spaces.layers import LayerSpec
from search_spaces.spaces import PRESETS, MobileSpace
from search_spaces.trials import Pick

PLAIN = InvertedResidualConfig(kernel=3, expansion=1)
SQUEEZED = InvertedResidualConfig(kernel=5, expansion=2, squeeze_excite=True, activation="hardswish")
STRIDED = InvertedResidualConfig(kernel=3, expansion=2)

TINY = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(
        StageConfig(width=8, stride=1, blocks=(PLAIN, SQUEEZED)),
        StageConfig(width=16, stride=2, blocks=(STRIDED,)),
    ),
    head=HeadConfig(width=24),
)

# name, parameters (weights + biases), multiply-accumulates (weights x pixels of the output map)
TINY_LAYERS = [
    ("stem.conv", 8 * 9 + 8, 8 * 9 * 64),
    ("stage1.block1.depthwise", 8 * 9 + 8, 8 * 9 * 64),
    ("stage1.block1.project", 8 * 8 + 8, 8 * 8 * 64),
    ("stage1.block2.expand", 8 * 16 + 16, 8 * 16 * 64),
    ("stage1.block2.depthwise", 16 * 25 + 16, 16 * 25 * 64),
    ("stage1.block2.squeeze_excite.squeeze", 16 * 8 + 8, 16 * 8),
    ("stage1.block2.squeeze_excite.excite", 8 * 16 + 16, 8 * 16),
    ("stage1.block2.project", 16 * 8 + 8, 16 * 8 * 64),
    ("stage2.block1.expand", 8 * 16 + 16, 8 * 16 * 64),
    ("stage2.block1.depthwise", 16 * 9 + 16, 16 * 9 * 16),
    ("stage2.block1.project", 16 * 16 + 16, 16 * 16 * 16),
    ("head.conv", 16 * 24 + 24, 16 * 24 * 16),
    ("classifier", 24 * 10 + 10, 24 * 10),
]


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    space = MobileSpace.model_validate({"preset": draw(st.sampled_from(sorted(PRESETS)))})
    return space.sample(Pick(random.Random(draw(st.integers(0, 2**32))).choice), input_channels=3)


def by_name(architecture: Architecture, kept: dict[str, int] | None = None) -> dict[str, LayerSpec]:
    return {layer.name: layer for layer in architecture.layers(10, kept)}


def test_layers_of_a_tiny_network() -> None:
    assert [(layer.name, layer.parameters, layer.macs) for layer in TINY.layers(10)] == TINY_LAYERS


def test_maps_and_strides_of_a_tiny_network() -> None:
    assert TINY.stride == 2
    layers = by_name(TINY)
    maps = {name: (layer.stride, layer.input_size, layer.output_size) for name, layer in layers.items()}
    assert maps["stem.conv"] == (1, 8, 8)
    assert maps["stage2.block1.expand"] == (1, 8, 8)
    assert maps["stage2.block1.depthwise"] == (2, 8, 4)
    assert maps["stage2.block1.project"] == maps["head.conv"] == (1, 4, 4)
    assert [site.has_skip for site in TINY.blocks()] == [True, True, False]


def test_pruning_narrows_one_block_and_nothing_else() -> None:
    before, after = by_name(TINY), by_name(TINY, {"stage1.block2.inner": 8})
    changed = {
        name: (after[name].in_channels, after[name].out_channels) for name in after if after[name] != before[name]
    }
    assert changed == {
        "stage1.block2.expand": (8, 8),
        "stage1.block2.depthwise": (8, 8),
        "stage1.block2.squeeze_excite.squeeze": (8, 8),
        "stage1.block2.squeeze_excite.excite": (8, 8),
        "stage1.block2.project": (8, 8),
    }
    assert after["stage1.block2.depthwise"].parameters == 8 * 25 + 8


def test_squeeze_width_is_a_quarter_of_the_unpruned_width() -> None:
    wide = TINY.model_copy(update={"stem": StemConfig(width=64)})
    squeeze = "stage1.block1.squeeze_excite.squeeze"
    wide = wide.model_copy(update={"stages": (StageConfig(width=8, stride=1, blocks=(SQUEEZED,)),)})
    assert by_name(wide)[squeeze].out_channels == 32
    assert by_name(wide, {"stage1.block1.inner": 8})[squeeze].out_channels == 32


def test_groups_of_a_tiny_network() -> None:
    groups = TINY.groups()
    assert [(group.name, group.block, group.width) for group in groups] == [
        ("stage1.block2.inner", "stage1.block2", 16),
        ("stage2.block1.inner", "stage2.block1", 16),
    ]
    assert groups[1].members == (
        ("stage2.block1.expand", 0),
        ("stage2.block1.expand_bn", 0),
        ("stage2.block1.depthwise", 0),
        ("stage2.block1.depthwise_bn", 0),
        ("stage2.block1.project", 1),
    )


@given(architectures())
def test_names_are_unique_and_layers_connect(architecture: Architecture) -> None:
    layers = architecture.layers(10)
    assert len({layer.name for layer in layers}) == len(layers)
    trunk = [layer for layer in layers if "squeeze_excite" not in layer.name]
    for before, after in itertools.pairwise(trunk[:-1]):
        assert (before.out_channels, before.output_size) == (after.in_channels, after.input_size)
    assert trunk[-1].in_channels == trunk[-2].out_channels


@given(architectures())
def test_group_members_are_layers_of_the_group_width(architecture: Architecture) -> None:
    layers = by_name(architecture)
    for group in architecture.groups():
        for name, axis in group.members:
            layer = layers[name.removesuffix("_bn")]
            assert (layer.out_channels, layer.in_channels)[axis] == group.width
            assert layer.block == group.block
    pruned = {group.name: 8 for group in architecture.groups()}
    touched = {name for group in architecture.groups() if group.width > 8 for name, _ in group.members}
    after = by_name(architecture, pruned)
    assert {name for name in layers if layers[name] != after[name]} == {name for name in touched if name in layers}


@given(architectures())
def test_json_round_trip(architecture: Architecture) -> None:
    assert Architecture.model_validate_json(architecture.model_dump_json()) == architecture
    assert Architecture.model_validate(architecture.model_dump(mode="json", exclude_defaults=True)) == architecture


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"kind": "resnet", "kernel": 3}, "kind: expected one of residual, .*, got 'resnet'"),
        ({"kind": ["residual"], "kernel": 3}, r"kind: expected one of residual, .*, got \['residual'\]"),
        ({"kind": "residual", "kernel": 3, "squeeze_excite": True}, "squeeze_excite"),
        ({"kernel": 4, "expansion": 1}, r"stages.0.blocks.0.kernel"),
        (3, "InvertedResidualConfig"),
        (StemConfig(width=8), "InvertedResidualConfig"),
    ],
)
def test_impossible_blocks_are_refused(block: object, message: str) -> None:
    stage = {"width": 8, "stride": 1, "blocks": [block]}
    with pytest.raises(ValidationError, match=message):
        Architecture.model_validate({**TINY.model_dump(mode="json"), "stages": [stage]})


@pytest.mark.parametrize(
    "fields",
    [
        {"stages": []},
        {"input_channels": 2},
        {"stem": {"width": 0}},
        {"depth": 3},
        {"head": {"width": 8, "kernel": 1}},
    ],
)
def test_impossible_networks_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Architecture.model_validate({**TINY.model_dump(mode="json"), **fields})


# Widths that skips tie together.


def chain(*stages: tuple[int, int, list[Any]], stem: int = 8, head: int | None = 16) -> Architecture:
    return Architecture(
        input_size=8,
        input_channels=3,
        stem=StemConfig(width=stem),
        stages=tuple(StageConfig(width=w, stride=s, blocks=tuple(blocks)) for w, s, blocks in stages),
        head=HeadConfig(width=head) if head else None,
    )


MOBILE = InvertedResidualConfig(kernel=3, expansion=2)
RESIDUAL = ResidualConfig(kind="residual", kernel=3)
SHUFFLE = ShuffleConfig(kind="shuffle", kernel=3)


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        (chain((16, 2, [MOBILE])), ["stem.width", "stage1.width"]),
        (chain((8, 1, [MOBILE]), (16, 2, [RESIDUAL, RESIDUAL])), ["stem.width", "stage2.width"]),
        (chain((8, 1, [MOBILE]), (8, 1, [RESIDUAL]), (8, 2, [MOBILE])), ["stem.width", "stage3.width"]),
        (chain((8, 1, [SHUFFLE]), (16, 2, [MOBILE])), ["stage2.width"]),
        (chain((16, 2, [MOBILE]), (32, 2, [SHUFFLE])), ["stem.width", "stage1.width"]),
        (chain((16, 2, [MOBILE]), (16, 1, [SHUFFLE])), ["stem.width"]),
    ],
    ids=["free", "stem and stage", "three together", "split by a unit", "read by a unit", "split by the next unit"],
)
def test_widths_tied_by_skips_are_one_group(architecture: Architecture, expected: list[str]) -> None:
    assert [group.name for group in architecture.width_groups()] == expected


def test_a_tied_width_counts_once_in_every_layer() -> None:
    architecture = chain((8, 1, [MOBILE]), (16, 2, [RESIDUAL, RESIDUAL]), head=None)
    (stem, stage) = architecture.width_groups()
    assert stem.members == (
        ("stem.conv", 0), ("stem.conv_bn", 0), ("stage1.block1.expand", 1), ("stage1.block1.project", 0),
        ("stage1.block1.project_bn", 0), ("stage2.block1.conv1", 1), ("stage2.block1.shortcut", 1),
    )  # fmt: skip
    assert stage.members[-1] == ("classifier", 1)
    narrow = {layer.name: layer for layer in architecture.layers(10, {"stem.width": 4, "stage2.width": 12})}
    shapes = {name: (layer.in_channels, layer.out_channels) for name, layer in narrow.items()}
    assert shapes == {
        "stem.conv": (3, 4),
        "stage1.block1.expand": (4, 16),
        "stage1.block1.depthwise": (16, 16),
        "stage1.block1.project": (16, 4),
        "stage2.block1.conv1": (4, 16),
        "stage2.block1.conv2": (16, 12),
        "stage2.block1.shortcut": (4, 12),
        "stage2.block2.conv1": (12, 16),
        "stage2.block2.conv2": (16, 12),
        "classifier": (12, 10),
    }
