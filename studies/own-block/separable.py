"""A kind of block of one's own; `own-block.yaml` beside it names it `separable:SeparableResidual`.

Everything that a search asks of it follows from four things: the record of its choices, the table of its layers, the
torch module and, if its files are to be foretold, what lies between the layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from torch import Tensor, nn

from search_spaces.block_configs import Activation, Kernel, Positive, Record
from search_spaces.blocks import ACTIVATIONS
from search_spaces.flows import INPUT, Flow
from search_spaces.kinds import LayerRow


class SeparableResidualConfig(Record):
    """What is chosen for a block; `kind` is the name that a study calls it by."""

    kind: Literal["separable:SeparableResidual"]
    kernel: Kernel
    expansion: Positive = 1
    activation: Activation = "relu"


def layers(config: SeparableResidualConfig, keeps_shape: bool) -> Iterator[LayerRow]:
    """The layers in order of execution: which width each reads and which it writes."""
    yield LayerRow("spatial1", "depthwise", "in", "in", config.kernel, "strided")
    yield LayerRow("mix1", "pointwise", "in", "inner", at="output")
    yield LayerRow("spatial2", "depthwise", "inner", "inner", config.kernel, "output")
    yield LayerRow("mix2", "pointwise", "inner", "out", at="output")


def between_layers(flow: Flow, config: SeparableResidualConfig, keeps_shape: bool) -> None:
    """What the module does in eval mode, batch norms folded."""
    inner = flow.run("mix1", flow.run("spatial1", INPUT), config.activation)
    out = flow.run("mix2", flow.run("spatial2", inner))
    flow.do(config.activation, flow.do("add", INPUT, out) if keeps_shape else out)


class SeparableResidual(nn.Module):
    """Two depthwise separable convolutions, a skip where shapes allow (Chollet 2017, Xception, arXiv:1610.02357).

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)). Convolutions are called as in
    `layers`, their batch norms `<name>_bn`.
    """

    config = SeparableResidualConfig
    rows = staticmethod(layers)
    flow = staticmethod(between_layers)
    widens = "out"  # the inner width is the output's times the expansion

    def __init__(
        self, in_channels: int, out_channels: int, *, inner: int, kernel: int, stride: int, activation: Activation
    ) -> None:
        super().__init__()
        self.has_skip = stride == 1 and in_channels == out_channels
        self.spatial1 = _depthwise(in_channels, kernel, stride)
        self.spatial1_bn = nn.BatchNorm2d(in_channels)
        self.mix1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.mix1_bn = nn.BatchNorm2d(inner)
        self.activation1 = ACTIVATIONS[activation]()
        self.spatial2 = _depthwise(inner, kernel, 1)
        self.spatial2_bn = nn.BatchNorm2d(inner)
        self.mix2 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.mix2_bn = nn.BatchNorm2d(out_channels)
        self.activation2 = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.spatial1_bn(self.spatial1(x))
        out = self.activation1(self.mix1_bn(self.mix1(out)))
        out = self.mix2_bn(self.mix2(self.spatial2_bn(self.spatial2(out))))
        result: Tensor = self.activation2(x + out if self.has_skip else out)
        return result


def _depthwise(channels: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
