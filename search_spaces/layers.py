"""Layers and channel groups as plain data: what joins spaces, compression plans and files. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LayerKind = Literal["conv", "depthwise", "pointwise", "linear"]
Member = tuple[str, int]
Span = tuple[tuple[int, ...], ...]
"""Where the channels of a group lie along an axis: for each channel of the group the indices that it has there."""


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One convolution or linear layer as executed: batch norm folded, hence with a bias.

    `name` is the torch module path and the node name in the file; `block` is the part of the network it belongs to.
    Sizes are sides of feature maps in pixels, `input_size` before the layer and `output_size` after it. Kernel, stride
    and maps are square, unless `wide` has their widths (kernel, stride, input, output); the fields are heights then.
    `split` is the number of groups of a convolution that is neither whole nor depthwise; `padding` is that of height
    and width, None: half the kernel. `of` is the layer that it is a factor of, "": it is whole. `again` has the pixels
    of the map that each further run gives, of a layer that is run more than once: it cannot be quantized, folded or
    factored.
    """

    name: str
    block: str
    kind: LayerKind
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    input_size: int = 1
    output_size: int = 1
    wide: tuple[int, int, int, int] | None = None
    split: int = 1
    padding: tuple[int, int] | None = None
    dilation: tuple[int, int] = (1, 1)
    of: str = ""
    again: tuple[int, ...] = ()

    @property
    def runs_again(self) -> bool:
        """Whether it is run more than once, by the same weights."""
        return bool(self.again)

    @property
    def paddings(self) -> tuple[int, int]:
        """Pixels of zeros above and below the map, and at its sides."""
        height, width = self.kernels
        return self.padding or (height // 2, width // 2)

    @property
    def kernels(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return self.kernel, self.wide[0] if self.wide else self.kernel

    @property
    def strides(self) -> tuple[int, int]:
        return self.stride, self.wide[1] if self.wide else self.stride

    @property
    def input_map(self) -> tuple[int, int]:
        """Height and width of the map before the layer."""
        return self.input_size, self.wide[2] if self.wide else self.input_size

    @property
    def output_map(self) -> tuple[int, int]:
        return self.output_size, self.wide[3] if self.wide else self.output_size

    @property
    def input_pixels(self) -> int:
        height, width = self.input_map
        return height * width

    @property
    def output_pixels(self) -> int:
        height, width = self.output_map
        return height * width

    @property
    def whole(self) -> str:
        """The layer that this is a factor of, by its name; its own name where it is whole."""
        return self.of or self.name

    @property
    def groups(self) -> int:
        return self.in_channels if self.kind == "depthwise" else self.split

    @property
    def weight_count(self) -> int:
        return self.out_channels * (self.in_channels // self.groups) * self.kernels[0] * self.kernels[1]

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weight_count + self.out_channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates at batch 1, of all its runs."""
        return self.weight_count * (self.output_pixels + sum(self.again))


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that are cut together: `members` are (module name, weight axis), batch norms included.

    `block` is the part of the network the group is named after, `width` its number of channels before pruning.
    `spans` say of each member where along the axis the channels lie, None: they are the whole axis, in order; empty:
    so it is with all. What counts as one channel of the group may be several of a layer, all of which go together:
    `unit` of them in the layer that writes them, side by side where there is no span.
    """

    name: str
    block: str
    width: int
    members: tuple[Member, ...]
    spans: tuple[Span | None, ...] = ()
    unit: int = 1


def downsampled(size: int, stride: int) -> int:
    """Side of the map after a 'same'-padded convolution with an odd kernel."""
    return (size + stride - 1) // stride
