"""Records for a network: named fields, frozen, JSON round trip; layers, costs and channel groups in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Activation = Literal["relu", "relu6", "hardswish"]
Kind = Literal["conv", "depthwise", "pointwise", "linear"]
Positive = Annotated[int, Field(ge=1)]


class Record(BaseModel):
    """Base of the records here: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StemConfig(Record):
    """The first convolution, 3x3."""

    width: Positive
    stride: Literal[1, 2] = 1
    activation: Activation = "relu"


class InvertedResidualConfig(Record):
    """One inverted residual block (Sandler et al. 2018, arXiv:1801.04381; squeeze-excite as in arXiv:1905.02244)."""

    kernel: Literal[3, 5, 7]
    expansion: Positive
    squeeze_excite: bool = False
    activation: Activation = "relu"


class StageConfig(Record):
    """Blocks of one output width; the first of them carries the stride."""

    width: Positive
    stride: Literal[1, 2]
    blocks: Annotated[tuple[InvertedResidualConfig, ...], Field(min_length=1)]


class HeadConfig(Record):
    """The pointwise convolution before global average pooling and the classifier."""

    width: Positive
    activation: Activation = "relu"


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One convolution or linear layer as executed: batch norm folded, hence with a bias; square kernels and maps.

    `name` is the torch module path and the node name in the file; `block` is the part of the network it belongs to.
    """

    name: str
    block: str
    kind: Kind
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    input_size: int = 1
    output_size: int = 1

    @property
    def groups(self) -> int:
        return self.in_channels if self.kind == "depthwise" else 1

    @property
    def weight_count(self) -> int:
        return self.out_channels * (self.in_channels // self.groups) * self.kernel**2

    @property
    def parameters(self) -> int:
        return self.weight_count + self.out_channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates at batch 1."""
        return self.weight_count * self.output_size**2


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that are cut together: `members` are (module name, weight axis), batch norms included."""

    name: str
    block: str
    width: int
    members: tuple[tuple[str, int], ...]


class Architecture(Record):
    """A whole network without its class count: stem, stages of inverted residuals, head."""

    input_size: Positive
    input_channels: Literal[1, 3]
    stem: StemConfig
    stages: Annotated[tuple[StageConfig, ...], Field(min_length=1)]
    head: HeadConfig

    @property
    def stride(self) -> int:
        """Input pixels per pixel of the last feature map, along one side."""
        total: int = self.stem.stride
        for stage in self.stages:
            total *= stage.stride
        return total

    def blocks(self) -> Iterator[BlockSite]:
        """Every block with its place: name, widths and map sizes."""
        width, size = self.stem.width, downsampled(self.input_size, self.stem.stride)
        for s, stage in enumerate(self.stages, start=1):
            for b, config in enumerate(stage.blocks, start=1):
                stride = stage.stride if b == 1 else 1
                site = BlockSite(f"stage{s}.block{b}", config, width, stage.width, stride, size)
                yield site
                width, size = stage.width, site.output_size

    def layers(self, num_classes: int, kept: Mapping[str, int] | None = None) -> tuple[LayerSpec, ...]:
        """Every layer once, in order of execution; `kept` maps a channel group to its channels after pruning."""
        kept = kept or {}
        stem_size = downsampled(self.input_size, self.stem.stride)
        found = [
            LayerSpec(
                "stem.conv", "stem", "conv", self.input_channels, self.stem.width, 3, self.stem.stride,
                self.input_size, stem_size,
            )
        ]  # fmt: skip
        width, size = self.stem.width, stem_size
        for site in self.blocks():
            found += site.layers(kept.get(site.group_name, site.inner_width))
            width, size = site.out_width, site.output_size
        found.append(LayerSpec("head.conv", "head", "pointwise", width, self.head.width, 1, 1, size, size))
        found.append(LayerSpec("classifier", "classifier", "linear", self.head.width, num_classes))
        return tuple(found)

    def groups(self) -> tuple[ChannelGroup, ...]:
        """The channel groups that may be pruned: every block's free inner width."""
        return tuple(site.group() for site in self.blocks() if site.config.expansion > 1)


@dataclass(frozen=True, slots=True)
class BlockSite:
    """An inverted residual block at its place in the network."""

    name: str
    config: InvertedResidualConfig
    in_width: int
    out_width: int
    stride: int
    input_size: int

    @property
    def inner_width(self) -> int:
        return self.in_width * self.config.expansion

    @property
    def squeeze_width(self) -> int:
        """Width of the squeeze-excite bottleneck: a quarter of the unpruned inner width, on the grid of 8."""
        return max(8, self.inner_width // 4 // 8 * 8)

    @property
    def output_size(self) -> int:
        return downsampled(self.input_size, self.stride)

    @property
    def has_skip(self) -> bool:
        return self.stride == 1 and self.in_width == self.out_width

    @property
    def group_name(self) -> str:
        return f"{self.name}.inner"

    def layers(self, inner: int) -> list[LayerSpec]:
        """Layers in order of execution when the inner width is `inner` channels."""
        before, after = self.input_size, self.output_size
        depthwise = LayerSpec(
            f"{self.name}.depthwise", self.name, "depthwise", inner, inner, self.config.kernel, self.stride,
            before, after,
        )  # fmt: skip
        point = LayerSpec("", self.name, "pointwise", 0, 0)
        found = [depthwise]
        if self.config.expansion > 1:
            expand = replace(
                point, name=f"{self.name}.expand", in_channels=self.in_width, out_channels=inner,
                input_size=before, output_size=before,
            )  # fmt: skip
            found.insert(0, expand)
        if self.config.squeeze_excite:
            se = f"{self.name}.squeeze_excite"
            found.append(replace(point, name=f"{se}.squeeze", in_channels=inner, out_channels=self.squeeze_width))
            found.append(replace(point, name=f"{se}.excite", in_channels=self.squeeze_width, out_channels=inner))
        project = replace(
            point, name=f"{self.name}.project", in_channels=inner, out_channels=self.out_width,
            input_size=after, output_size=after,
        )  # fmt: skip
        return [*found, project]

    def group(self) -> ChannelGroup:
        """The free inner width: what is cut when channels of this block are pruned."""
        members = [("expand", 0), ("expand_bn", 0), ("depthwise", 0), ("depthwise_bn", 0)]
        if self.config.squeeze_excite:
            members += [("squeeze_excite.squeeze", 1), ("squeeze_excite.excite", 0)]
        members.append(("project", 1))
        named = tuple((f"{self.name}.{layer}", axis) for layer, axis in members)
        return ChannelGroup(self.group_name, self.name, self.inner_width, named)


def downsampled(size: int, stride: int) -> int:
    """Side of the map after a 'same'-padded convolution with an odd kernel."""
    return (size + stride - 1) // stride
