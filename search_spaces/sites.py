"""Blocks at their places, in closed form: which layers each kind of block has, and which channels are cut together.

A block is a table of `Row`s. Each says which width a layer reads and which it writes, by name: "in" and "out" are the
block's ends, "inner" is its free width, "half" a half of the output, "squeeze" the bottleneck of squeeze-excite.
Shapes, costs and channel groups all follow from the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from search_spaces.block_configs import (
    BlockConfig,
    FusedInvertedResidualConfig,
    InvertedResidualConfig,
    ResidualConfig,
    ShuffleConfig,
)
from search_spaces.layers import ChannelGroup, Kind, LayerSpec, Member

Width = Literal["in", "inner", "half", "out", "squeeze"]


class Row(NamedTuple):
    """One layer of a block. It works on the block's input map, or from the strided layer on on its output map."""

    layer: str
    kind: Kind
    reads: Width
    writes: Width
    kernel: int = 1
    at: Literal["input", "strided", "output", "pooled"] = "input"

    @property
    def has_norm(self) -> bool:
        return self.at != "pooled"


@dataclass(frozen=True, slots=True)
class BlockSite:
    """A block at its place in the network: its ends before any pruning, its stride and the size of its input map."""

    name: str
    config: BlockConfig
    in_width: int
    out_width: int
    stride: int
    input_size: int

    @property
    def stage(self) -> str:
        return self.name.partition(".")[0]

    @property
    def is_first(self) -> bool:
        """Whether it is the first block of its stage."""
        return self.name.endswith(".block1")

    @property
    def output_size(self) -> int:
        return downsampled(self.input_size, self.stride)

    @property
    def keeps_shape(self) -> bool:
        """Whether input and output have one shape, so that the input can be passed on."""
        return self.stride == 1 and self.in_width == self.out_width

    @property
    def has_skip(self) -> bool:
        """Whether the input itself is added to the output: both then hold the same channels for ever."""
        return self.keeps_shape and not isinstance(self.config, ShuffleConfig)

    @property
    def inner_width(self) -> int:
        """Width between the block's convolutions, before pruning."""
        base = {"in": self.in_width, "out": self.out_width, "half": self.out_width // 2}
        return base[_FORMS[type(self.config)].widens] * self.config.expansion

    @property
    def squeeze_width(self) -> int:
        """Width of the squeeze-excite bottleneck: a quarter of the unpruned inner width, on the grid of 8."""
        return max(8, self.inner_width // 4 // 8 * 8)

    @property
    def has_group(self) -> bool:
        """Whether there is a free inner width, which can be pruned."""
        return any(row.writes == "inner" for row in self.rows())

    @property
    def group_name(self) -> str:
        return f"{self.name}.inner"

    def rows(self) -> tuple[Row, ...]:
        """The block's layers in order of execution."""
        return tuple(_FORMS[type(self.config)].rows(self))

    def layers(
        self, inner: int | None = None, in_width: int | None = None, out_width: int | None = None
    ) -> list[LayerSpec]:
        """Layers in order of execution, at these widths after pruning (None: unpruned)."""
        out_width = out_width or self.out_width
        widths: dict[Width, int] = {
            "in": in_width or self.in_width,
            "inner": inner or self.inner_width,
            "half": out_width // 2,
            "out": out_width,
            "squeeze": self.squeeze_width,
        }
        return [self._layer(row, widths) for row in self.rows()]

    def _layer(self, row: Row, widths: Mapping[Width, int]) -> LayerSpec:
        before, after = self.input_size, self.output_size
        maps = {"input": (before, before), "strided": (before, after), "output": (after, after), "pooled": (1, 1)}
        return LayerSpec(
            f"{self.name}.{row.layer}",
            self.name,
            row.kind,
            widths[row.reads],
            widths[row.writes],
            row.kernel,
            self.stride if row.at == "strided" else 1,
            *maps[row.at],
        )

    def group(self) -> ChannelGroup:
        """The free inner width: what is cut when channels of this block are pruned."""
        return ChannelGroup(self.group_name, self.name, self.inner_width, tuple(self.members("inner")))

    def members(self, width: Width) -> Iterator[Member]:
        """Everything in this block that holds the channels of a width."""
        for row in self.rows():
            name = f"{self.name}.{row.layer}"
            if row.writes == width:
                yield (name, 0)
                if row.has_norm:
                    yield (f"{name}_bn", 0)
            elif row.reads == width:
                yield (name, 1)


class _Form(NamedTuple):
    """A kind of block: the width that `expansion` multiplies, and its rows."""

    widens: Literal["in", "out", "half"]
    rows: Callable[[BlockSite], Iterator[Row]]


def _inverted_residual(site: BlockSite) -> Iterator[Row]:
    assert isinstance(site.config, InvertedResidualConfig)
    inner: Width = "inner" if site.config.expansion > 1 else "in"
    if inner == "inner":
        yield Row("expand", "pointwise", "in", "inner")
    yield Row("depthwise", "depthwise", inner, inner, site.config.kernel, "strided")
    if site.config.squeeze_excite:
        yield Row("squeeze_excite.squeeze", "pointwise", inner, "squeeze", at="pooled")
        yield Row("squeeze_excite.excite", "pointwise", "squeeze", inner, at="pooled")
    yield Row("project", "pointwise", inner, "out", at="output")


def _fused_inverted_residual(site: BlockSite) -> Iterator[Row]:
    yield Row("expand", "conv", "in", "inner", site.config.kernel, "strided")
    yield Row("project", "pointwise", "inner", "out", at="output")


def _residual(site: BlockSite) -> Iterator[Row]:
    yield Row("conv1", "conv", "in", "inner", site.config.kernel, "strided")
    yield Row("conv2", "conv", "inner", "out", site.config.kernel, "output")
    if not site.has_skip:
        yield Row("shortcut", "pointwise", "in", "out", at="strided")


def _shuffle(site: BlockSite) -> Iterator[Row]:
    if not site.keeps_shape:
        yield Row("shortcut_depthwise", "depthwise", "in", "in", site.config.kernel, "strided")
        yield Row("shortcut_project", "pointwise", "in", "half", at="output")
    yield Row("expand", "pointwise", "half" if site.keeps_shape else "in", "inner")
    yield Row("depthwise", "depthwise", "inner", "inner", site.config.kernel, "strided")
    yield Row("project", "pointwise", "inner", "half", at="output")


_FORMS: Mapping[type, _Form] = {
    InvertedResidualConfig: _Form("in", _inverted_residual),
    FusedInvertedResidualConfig: _Form("in", _fused_inverted_residual),
    ResidualConfig: _Form("out", _residual),
    ShuffleConfig: _Form("half", _shuffle),
}


def downsampled(size: int, stride: int) -> int:
    """Side of the map after a 'same'-padded convolution with an odd kernel."""
    return (size + stride - 1) // stride
