"""Blocks at their places: ends, skips, widths and layers in closed form."""

from __future__ import annotations

import pytest

from search_spaces.block_configs import (
    FusedInvertedResidualConfig,
    InvertedResidualConfig,
    ResidualConfig,
    ShuffleConfig,
)
from search_spaces.kinds import squeezed
from search_spaces.sites import BlockSite

INVERTED = InvertedResidualConfig(kernel=3, expansion=4)
FUSED = FusedInvertedResidualConfig(kind="fused_inverted_residual", kernel=5, expansion=2)
RESIDUAL = ResidualConfig(kind="residual", kernel=3)
SHUFFLE = ShuffleConfig(kind="shuffle", kernel=3)


def test_a_site_knows_its_place() -> None:
    site = BlockSite("stage2.block1", SHUFFLE, 8, 16, 2, 9)
    assert (site.stage, site.is_first, site.output_size, site.inner_width) == ("stage2", True, 5, 8)
    assert not site.keeps_shape
    assert [row.layer for row in site.rows()] == [
        "shortcut_depthwise", "shortcut_project", "expand", "depthwise", "project",
    ]  # fmt: skip


@pytest.mark.parametrize(("stride", "widths", "expected"), [(1, (8, 8), True), (2, (8, 8), False), (1, (8, 16), False)])
def test_a_skip_needs_equal_shapes(stride: int, widths: tuple[int, int], expected: bool) -> None:
    assert BlockSite("stage1.block1", INVERTED, *widths, stride, 8).has_skip is expected
    assert not BlockSite("stage1.block1", SHUFFLE, *widths, stride, 8).has_skip


@pytest.mark.parametrize(
    ("config", "expected"), [(INVERTED, 4 * 16), (FUSED, 2 * 16), (RESIDUAL, 24), (SHUFFLE, 24 // 2)]
)
def test_the_inner_width_is_the_width_that_the_kind_widens(config: object, expected: int) -> None:
    assert BlockSite("stage1.block1", config, 16, 24, 2, 8).inner_width == expected


def test_without_expansion_there_is_no_free_width() -> None:
    plain = InvertedResidualConfig(kernel=3, expansion=1)
    assert not BlockSite("stage1.block1", plain, 8, 8, 1, 8).has_group
    assert BlockSite("stage1.block1", INVERTED, 8, 8, 1, 8).has_group


@pytest.mark.parametrize(("inner", "expected"), [(8, 8), (32, 8), (63, 8), (64, 16), (96, 24)])
def test_squeeze_width_is_a_quarter_on_the_grid_of_8(inner: int, expected: int) -> None:
    assert squeezed(inner) == expected


def test_layers_follow_the_widths_after_pruning() -> None:
    """Kernel 5 and the stride sit in the first convolution; in 6, inner 10, out 12 channels are left."""
    site = BlockSite("stage2.block1", FUSED, 8, 16, 2, 9)
    expand, project = site.layers(10, 6, 12)
    assert (expand.in_channels, expand.out_channels, expand.kernel, expand.stride) == (6, 10, 5, 2)
    assert (expand.input_size, expand.output_size) == (9, 5)
    assert (project.in_channels, project.out_channels, project.kernel, project.stride) == (10, 12, 1, 1)
    assert (project.input_size, project.output_size) == (5, 5)
    assert site.layers() == site.layers(16, 8, 16)


def test_only_kinds_other_than_the_default_are_named_in_operations() -> None:
    assert BlockSite("stage1.block1", INVERTED, 8, 8, 1, 8).operations == "relu"
    assert BlockSite("stage1.block1", SHUFFLE, 8, 8, 1, 8).operations == ["shuffle", "relu"]
