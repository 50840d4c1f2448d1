"""Blocks at their places in a network: widths, layers and channel groups in closed form, whatever their kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from search_spaces.block_configs import BlockConfig
from search_spaces.kinds import DEFAULT_KIND, BlockKind, LayerRow, Width, kind_of, squeezed
from search_spaces.layers import ChannelGroup, LayerSpec, Member, downsampled


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
    def kind(self) -> BlockKind:
        return kind_of(self.config.kind)

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
        """Whether the input itself is added to the output: both then always hold the same channels."""
        return self.keeps_shape and self.kind.adds_input

    @property
    def operations(self) -> str | list[Any]:
        """What the block does beyond its layers' shapes: its activation; unless it is of the default kind, also its
        kind and the choices that only this kind has."""
        config = self.config
        if config.kind == DEFAULT_KIND:
            return config.activation
        return [config.kind, config.activation, *(getattr(config, choice) for choice in self.kind.choices)]

    @property
    def inner_width(self) -> int:
        """Width between the block's convolutions, before pruning; that of its output where it has a single one."""
        base = {"in": self.in_width, "out": self.out_width, "half": self.out_width // 2}
        widens, expansion = self.kind.widens, getattr(self.config, "expansion", 1)
        return base[widens] * int(expansion) if widens else self.out_width

    @property
    def has_group(self) -> bool:
        """Whether there is a free inner width, which can be pruned."""
        return any(row.writes == "inner" for row in self.rows())

    @property
    def group_name(self) -> str:
        return f"{self.name}.inner"

    def rows(self) -> tuple[LayerRow, ...]:
        """The block's layers in order of execution."""
        return _rows(self.kind, self.config, self.keeps_shape)

    def layers(
        self, inner: int | None = None, in_width: int | None = None, out_width: int | None = None
    ) -> tuple[LayerSpec, ...]:
        """Layers in order of execution, at these widths after pruning (None: unpruned)."""
        out_width = out_width or self.out_width
        widths: dict[Width, int] = {
            "in": in_width or self.in_width,
            "inner": inner or self.inner_width,
            "half": out_width // 2,
            "out": out_width,
            "squeeze": squeezed(self.inner_width),
        }
        return tuple(self._layer(row, widths) for row in self.rows())

    def _layer(self, row: LayerRow, widths: Mapping[Width, int]) -> LayerSpec:
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
        return _group(self)

    def members(self, width: Width) -> Iterator[Member]:
        """Everything in this block that holds the channels of a width."""
        for row in self.rows():
            name = f"{self.name}.{row.layer}"
            if row.writes == width:
                yield (name, 0)
                if row.has_norm:
                    yield (f"{name}_bn", 0)
            if row.reads == width and row.kind != "depthwise":  # whose weight has no axis of inputs
                yield (name, 1)


# A pool of thousands of networks is made of few different blocks.
@lru_cache(maxsize=1 << 12)
def _rows(kind: BlockKind, config: BlockConfig, keeps_shape: bool) -> tuple[LayerRow, ...]:
    return tuple(kind.rows(config, keeps_shape))


@lru_cache(maxsize=1 << 12)
def _group(site: BlockSite) -> ChannelGroup:
    return ChannelGroup(site.group_name, site.name, site.inner_width, tuple(site.members("inner")))
