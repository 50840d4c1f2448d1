"""The building blocks as torch modules. Convolutions are named as in `layers()`, batch norms `<name>_bn`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from search_spaces.block_configs import Activation

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


class NormalizeChannels(nn.Module):
    """(x - mean) / std with a mean and a std for each of C channels: (N, C or 1, H, W) -> (N, C, H, W).

    A single channel is repeated. Codes of pixels are not exact in it, since each channel would need a grid of its own.
    """

    is_traced_as_leaf = True
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if min(std) <= 0:
            raise ValueError(f"std: expected positive numbers, got {list(std)}")
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


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


class FusedInvertedResidual(nn.Module):
    """A full convolution to the inner width and a projection; a skip where shapes allow (arXiv:2104.00298).

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, inner: int, kernel: int, stride: int, activation: Activation
    ) -> None:
        super().__init__()
        self.has_skip = stride == 1 and in_channels == out_channels
        self.expand = nn.Conv2d(in_channels, inner, kernel, stride, kernel // 2, bias=False)
        self.expand_bn = nn.BatchNorm2d(inner)
        self.activation = ACTIVATIONS[activation]()
        self.project = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.expand_bn(self.expand(x)))
        out = self.project_bn(self.project(out))
        return x + out if self.has_skip else out


class Residual(nn.Module):
    """Two convolutions and a shortcut, 1x1 where shapes differ; the activation follows the sum (arXiv:1512.03385).

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, inner: int, kernel: int, stride: int, activation: Activation
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, inner, kernel, stride, kernel // 2, bias=False)
        self.conv1_bn = nn.BatchNorm2d(inner)
        self.activation1 = ACTIVATIONS[activation]()
        self.conv2 = nn.Conv2d(inner, out_channels, kernel, 1, kernel // 2, bias=False)
        self.conv2_bn = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.shortcut_bn = nn.BatchNorm2d(out_channels)
        self.activation2 = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation1(self.conv1_bn(self.conv1(x)))
        out = self.conv2_bn(self.conv2(out))
        if self.shortcut is not None:
            x = self.shortcut_bn(self.shortcut(x))
        summed: Tensor = self.activation2(x + out)
        return summed


class SelectChannels(nn.Module):
    """Channels by number, in the given order: (N, C, H, W) -> (N, len(channels), H, W)."""

    is_traced_as_leaf = True
    index: Tensor

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("index", torch.tensor(tuple(channels)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.index_select(x, 1, self.index)

    def selected(self) -> tuple[int, ...]:
        return tuple(self.index.tolist())

    def select(self, channels: Sequence[int]) -> None:
        """Select other channels from now on. Which ones does not follow from the network's record, as it did before:
        they become part of the state.
        """
        self.register_buffer("index", torch.tensor(tuple(channels), device=self.index.device))


class ShuffleUnit(nn.Module):
    """A ShuffleNetV2 unit (Ma et al. 2018, arXiv:1807.11164).

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)). Where shapes stay, one half of the
    channels passes and the other is worked on; else both branches read all of them. The paper shuffles behind the
    concatenation and splits in the next unit; here the next unit takes its halves from the unshuffled channels, which
    is the same and moves each channel once.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, inner: int, kernel: int, stride: int, activation: Activation
    ) -> None:
        super().__init__()
        if out_channels % 2:
            raise ValueError(f"out_channels: expected an even number, got {out_channels}")
        half = out_channels // 2
        self.splits = stride == 1 and in_channels == out_channels
        if self.splits:
            shuffled = [channel for pair in zip(range(half), range(half, 2 * half), strict=True) for channel in pair]
            self.passed, self.worked_on = SelectChannels(shuffled[:half]), SelectChannels(shuffled[half:])
        else:
            self.shortcut_depthwise = nn.Conv2d(
                in_channels, in_channels, kernel, stride, kernel // 2, groups=in_channels, bias=False
            )
            self.shortcut_depthwise_bn = nn.BatchNorm2d(in_channels)
            self.shortcut_project = nn.Conv2d(in_channels, half, 1, bias=False)
            self.shortcut_project_bn = nn.BatchNorm2d(half)
            self.shortcut_activation = ACTIVATIONS[activation]()
        self.expand = nn.Conv2d(half if self.splits else in_channels, inner, 1, bias=False)
        self.expand_bn = nn.BatchNorm2d(inner)
        self.expand_activation = ACTIVATIONS[activation]()
        self.depthwise = nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(inner)
        self.project = nn.Conv2d(inner, half, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(half)
        self.project_activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        if self.splits:
            first, x = self.halves(x)
        else:
            first = self.shortcut_depthwise_bn(self.shortcut_depthwise(x))
            first = self.shortcut_activation(self.shortcut_project_bn(self.shortcut_project(first)))
        out = self.expand_activation(self.expand_bn(self.expand(x)))
        out = self.depthwise_bn(self.depthwise(out))
        out = self.project_activation(self.project_bn(self.project(out)))
        return torch.cat((first, out), 1)

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both halves of the shuffled channels: what passes, and what is worked on.

        A trace sees the two selections, which are two Gather in the file. Training takes a view of the channels as
        they lie in memory (channels last): its gradient is a copy, a selection's a scattered sum (a quarter of a step).
        """
        if not self.training:
            return self.passed(x), self.worked_on(x)
        n, channels, height, width = x.shape
        pairs = x.permute(0, 2, 3, 1).reshape(n, height, width, 2, channels // 2).transpose(3, 4)
        passed, worked_on = pairs.reshape(n, height, width, channels).permute(0, 3, 1, 2).chunk(2, 1)
        return passed, worked_on


class Plain(nn.Module):
    """A convolution, batch norm and activation, and no way around them (arXiv:1409.1556).

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)). `inner` is `out_channels`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, inner: int, kernel: int, stride: int, activation: Activation
    ) -> None:
        super().__init__()
        if inner != out_channels:
            raise ValueError(f"a plain block has no inner width: expected out_channels {out_channels}, got {inner}")
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
        self.conv_bn = nn.BatchNorm2d(out_channels)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.conv_bn(self.conv(x)))
        return out
