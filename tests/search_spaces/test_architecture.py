"""Layers, costs and channel groups of a network small enough to be reckoned by hand."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from search_spaces.architecture import (
    Architecture,
    HeadConfig,
    StageConfig,
    StemConfig,
)
from search_spaces.block_configs import InvertedResidualConfig
from search_spaces.layers import LayerSpec, downsampled
from search_spaces.sites import BlockSite
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


@pytest.mark.parametrize(("stride", "widths", "expected"), [(1, (8, 8), True), (2, (8, 8), False), (1, (8, 16), False)])
def test_a_skip_needs_equal_shapes(stride: int, widths: tuple[int, int], expected: bool) -> None:
    assert BlockSite("stage1.block1", PLAIN, *widths, stride, 8).has_skip is expected


@pytest.mark.parametrize(("size", "stride", "expected"), [(8, 1, 8), (8, 2, 4), (7, 2, 4), (1, 2, 1)])
def test_downsampled(size: int, stride: int, expected: int) -> None:
    assert downsampled(size, stride) == expected


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
