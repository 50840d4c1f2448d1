"""Records for a network: named fields, frozen, JSON round trip; its layers and channel groups in order of execution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field

from search_spaces.block_configs import Activation, Positive, Record
from search_spaces.kinds import AnyBlock
from search_spaces.layers import ChannelGroup, LayerSpec, Member, downsampled
from search_spaces.parts import Part
from search_spaces.remembered import remembered
from search_spaces.sites import BlockSite


class StemConfig(Record):
    """The first convolution, 3x3."""

    width: Positive
    stride: Literal[1, 2] = 1
    activation: Activation = "relu"


class StageConfig(Record):
    """Blocks of one output width; the first of them carries the stride."""

    width: Positive
    stride: Literal[1, 2]
    blocks: Annotated[tuple[AnyBlock, ...], Field(min_length=1)]


class HeadConfig(Record):
    """The pointwise convolution before global average pooling and the classifier."""

    width: Positive
    activation: Activation = "relu"


class Architecture(Record):
    """A whole network without its class count: stem, stages of blocks, and a head or none (None)."""

    input_size: Positive
    input_channels: Literal[1, 3]
    stem: StemConfig
    stages: Annotated[tuple[StageConfig, ...], Field(min_length=1)]
    head: HeadConfig | None

    @property
    def stride(self) -> int:
        """Input pixels per pixel of the last feature map, along one side."""
        total: int = self.stem.stride
        for stage in self.stages:
            total *= stage.stride
        return total

    @remembered
    def blocks(self) -> tuple[BlockSite, ...]:
        """Every block with its place: name, widths before pruning and map sizes."""
        return tuple(self._sites())

    @property
    def sections(self) -> int:
        """Its stages, by which it is described in numbers."""
        return len(self.stages)

    def section_of(self, part: str) -> int | None:
        """The number of a part's stage, from 0 on; None of what lies before and behind them."""
        stage, _, block = part.partition(".")
        return int(stage.removeprefix("stage")) - 1 if block else None

    def untrained(self) -> Architecture:
        """The same network with random weights to begin with."""
        return self

    def stretches(self) -> None:
        """What lies between layers is said by each part of itself."""

    @property
    def head_width(self) -> int:
        """Channels of the layer before the classifier that is no block; 0 without one."""
        return self.head.width if self.head is not None else 0

    def operations(self) -> dict[str, Any]:
        """Kinds, activations and other choices that show in no layer's shape."""
        head = self.head.activation if self.head is not None else None
        return {"activations": [site.operations for site in self.blocks()], "ends": [self.stem.activation, head]}

    def _sites(self) -> Iterator[BlockSite]:
        width, size = self.stem.width, downsampled(self.input_size, self.stem.stride)
        for s, stage in enumerate(self.stages, start=1):
            for b, config in enumerate(stage.blocks, start=1):
                stride = stage.stride if b == 1 else 1
                site = BlockSite(f"stage{s}.block{b}", config, width, stage.width, stride, size)
                yield site
                width, size = stage.width, site.output_size

    def layers(self, num_classes: int, kept: Mapping[str, int] | None = None) -> tuple[LayerSpec, ...]:
        """Every layer once, in order of execution; `kept` maps a channel group to its channels after pruning."""
        return tuple(layer for part in self.parts(num_classes, kept) for layer in part.layers)

    def parts(self, num_classes: int, kept: Mapping[str, int] | None = None) -> Iterator[Part]:
        """The layers by stem, block, head and classifier, in order of execution; `kept` as in `layers`."""
        kept = kept or {}
        widths, sites = self._widths(kept), self.blocks()
        size = downsampled(self.input_size, self.stem.stride)
        width, ends = widths["stem"], (self.input_size, size)
        activation, stride = self.stem.activation, self.stem.stride
        yield _end(activation, "stem.conv", "conv", self.input_channels, width, 3, stride, *ends)
        for site in sites:
            before, width = width, widths[site.stage]
            yield _block(site, kept.get(site.group_name), before, width)
        size = sites[-1].output_size
        if self.head is not None:
            yield _end(self.head.activation, "head.conv", "pointwise", width, self.head.width, 1, 1, size, size)
            width = self.head.width
        yield _end("relu", "classifier", "linear", width, num_classes, 1, 1, 1, 1)

    @remembered
    def groups(self) -> tuple[ChannelGroup, ...]:
        """The free inner width of every block that has one."""
        return tuple(site.group() for site in self.blocks() if site.has_group)

    def width_groups(self) -> tuple[ChannelGroup, ...]:
        """Widths between blocks: one group for all stages (and the stem) that a skip ties together.

        Widths that a block writes or reads in halves are no groups.
        """
        return tuple(self._width_group(tied) for tied in self._tied() if not self._is_split(tied))

    def all_groups(self) -> tuple[ChannelGroup, ...]:
        """Everything that can be pruned."""
        return self.groups() + self.width_groups()

    def has_norm(self, group: ChannelGroup) -> bool:
        """Whether a batch norm is among a group's members: every convolution has one."""
        return any(name.endswith("_bn") for name, _ in group.members)

    @remembered
    def _tied(self) -> list[list[str]]:
        """The stem and the stages, in order; together where the first block of a stage adds its input to its output."""
        tied = [["stem"]]
        for site in self.blocks():
            if site.is_first:
                tied = [*tied[:-1], [*tied[-1], site.stage]] if site.has_skip else [*tied, [site.stage]]
        return tied

    def _is_split(self, tied: list[str]) -> bool:
        """Whether a block writes one of these widths in halves, or reads it so."""
        splitting = [site for site in self.blocks() if site.kind.splits]
        return any(site.stage in tied or (site.keeps_shape and self._before(site) in tied) for site in splitting)

    @staticmethod
    def _before(site: BlockSite) -> str:
        """Where a block's input was written: its stage, or for a stage's first block the one before it."""
        number = int(site.stage.removeprefix("stage"))
        return site.stage if not site.is_first else f"stage{number - 1}" if number > 1 else "stem"

    def _width_group(self, tied: list[str]) -> ChannelGroup:
        members: list[Member] = [("stem.conv", 0), ("stem.conv_bn", 0)] if "stem" in tied else []
        for site in self.blocks():
            if self._before(site) in tied:
                members += site.members("in")
            if site.stage in tied:
                members += site.members("out")
        last = f"stage{len(self.stages)}"
        if last in tied:
            members.append(("head.conv" if self.head is not None else "classifier", 1))
        name = f"{tied[0]}.width"
        width = self.stem.width if tied[0] == "stem" else self.stages[int(tied[0].removeprefix("stage")) - 1].width
        return ChannelGroup(name, name, width, tuple(members))

    def _widths(self, kept: Mapping[str, int]) -> dict[str, int]:
        """Width of the stem's and every stage's output after pruning."""
        widths = {"stem": self.stem.width, **{f"stage{s}": stage.width for s, stage in enumerate(self.stages, 1)}}
        for tied in self._tied():
            widths |= {name: kept[f"{tied[0]}.width"] for name in tied if f"{tied[0]}.width" in kept}
        return widths


@lru_cache(maxsize=1 << 12)
def _end(activation: Activation, name: str, *fields: Any) -> Part:
    """The stem, the head or the classifier, by which the name of its only layer begins."""
    part = name.partition(".")[0]
    return Part(part, (LayerSpec(name, part, *fields),), activation=activation, is_edge=part != "head")


@lru_cache(maxsize=1 << 16)
def _block(site: BlockSite, inner: int | None, in_width: int, out_width: int) -> Part:
    return Part(site.name, site.layers(inner, in_width, out_width), site)
