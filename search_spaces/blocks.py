"""The building blocks as torch modules. Convolutions are named as in `layers()`, batch norms `<name>_bn`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.architecture import Activation

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
}


class Normalize(nn.Module):
    """(x - mean) / std with one mean and one std for all channels.

    The mean lies on the grid of 1/255, so that an 8-bit image is exact in the 8-bit input of a quantized network.
    """

    is_traced_as_leaf = True
    mean: Tensor
    std: Tensor

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        if std <= 0:
            raise ValueError(f"std: expected a positive number, got {std}")
        self.register_buffer("mean", torch.tensor(round(mean * 255) / 255))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def pixel_grid(self) -> tuple[float, int]:
        """Scale and zero point under which code k stands for the normalized value of pixel k / 255."""
        return 1 / (255 * float(self.std)), round(float(self.mean) * 255)


class ConvBlock(nn.Module):
    """Convolution, batch norm, activation: (N, in_channels, H, W) -> (N, out_channels, ceil(H / s), ceil(W / s))."""

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel: int, stride: int, activation: Activation
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
        self.conv_bn = nn.BatchNorm2d(out_channels)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.conv_bn(self.conv(x)))
        return out


class SqueezeExcite(nn.Module):
    """Channel gates from the global average (Hu et al. 2018, arXiv:1709.01507), hard sigmoid as in MobileNetV3."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.activation = nn.ReLU()
        self.excite = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        gates: Tensor = self.gate(self.excite(self.activation(self.squeeze(self.pool(x)))))
        return x * gates


class InvertedResidual(nn.Module):
    """Expand, depthwise, optional squeeze-excite, project; a skip where shapes allow (arXiv:1801.04381).

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)). With `inner == in_channels` and
    `expand=False` there is no expansion layer. `squeezed` 0 means no squeeze-excite.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        inner: int,
        kernel: int,
        stride: int,
        activation: Activation,
        expand: bool = True,
        squeezed: int = 0,
    ) -> None:
        super().__init__()
        if not expand and inner != in_channels:
            raise ValueError(f"without expansion inner must be in_channels {in_channels}, got {inner}")
        self.has_skip = stride == 1 and in_channels == out_channels
        self.expand: nn.Module | None = None
        if expand:
            self.expand = nn.Conv2d(in_channels, inner, 1, bias=False)
            self.expand_bn = nn.BatchNorm2d(inner)
            self.expand_activation = ACTIVATIONS[activation]()
        self.depthwise = nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(inner)
        self.depthwise_activation = ACTIVATIONS[activation]()
        self.squeeze_excite = SqueezeExcite(inner, squeezed) if squeezed else None
        self.project = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x
        if self.expand is not None:
            out = self.expand_activation(self.expand_bn(self.expand(out)))
        out = self.depthwise_activation(self.depthwise_bn(self.depthwise(out)))
        if self.squeeze_excite is not None:
            out = self.squeeze_excite(out)
        out = self.project_bn(self.project(out))
        return x + out if self.has_skip else out
