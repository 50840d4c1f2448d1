"""A network in which channels of groups lie anywhere: concatenated, shuffled, in a grouped convolution, flattened."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pair import Channels
from torch import Tensor, nn

from compressors.pruning.places import Span
from search_spaces.blocks import SelectChannels

A, B, HIDDEN = "a.width", "b.width", "hidden.width"
ORDER = (12, 0, 3, 9, 6, 1, 4, 10, 7, 2, 5, 11, 8)  # of the 9 channels of `grouped` and the 4 of `a` behind them


class Joined(nn.Module):
    """(N, 3, 4, 4) -> (N, 3), in double: two branches side by side, all channels in another order, one norm over them.

    `b` is read in three groups of two channels, which give three each: a channel of its group is two of its own.
    """

    def __init__(self, seed: int = 0, order: Sequence[int] = ORDER) -> None:
        super().__init__()
        self.a, self.a_bn = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.b, self.b_bn = nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6)
        self.grouped = nn.Conv2d(6, 9, 3, padding=1, groups=3)
        self.shuffled = SelectChannels(order)
        self.norm = nn.BatchNorm2d(13)
        self.depthwise = nn.Conv2d(13, 13, 3, stride=2, padding=1, groups=13)
        self.hidden, self.head = nn.Linear(13 * 4, 5), nn.Linear(5, 3)
        generator = torch.Generator().manual_seed(seed)
        for tensor in (*self.parameters(), *(norm.running_mean for norm in (self.a_bn, self.b_bn, self.norm))):
            assert tensor is not None
            tensor.data.normal_(0, 1, generator=generator)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.a_bn(self.a(x)))
        joined = torch.cat([self.grouped(torch.relu(self.b_bn(self.b(x)))), a], 1)
        mixed = torch.relu(self.depthwise(torch.relu(self.norm(self.shuffled(joined)))))
        out: Tensor = self.head(torch.relu(self.hidden(torch.flatten(mixed, 1))))
        return out

    def groups(self) -> tuple[Channels, ...]:
        """The channel groups, worked out by hand."""
        a, b = ((9,), (10,), (11,), (12,)), ((0, 1, 2), (3, 4, 5), (6, 7, 8))
        return (
            Channels(A, 4, (("a", 0), ("a_bn", 0), *_MIXED), (None, None, *self._mixed(a))),
            Channels(
                B,
                3,
                (("b", 0), ("b_bn", 0), ("grouped", 1), ("grouped", 0), *_MIXED),
                (None, None, ((0, 1), (2, 3), (4, 5)), b, *self._mixed(b)),
                unit=2,
            ),
            Channels(HIDDEN, 5, (("hidden", 0), ("head", 1))),
        )

    def _mixed(self, joined: Span) -> tuple[Span, ...]:
        """Where channels of the concatenation are in the layers behind it."""
        order = self.shuffled.selected()
        mixed = tuple(tuple(order.index(number) for number in numbers) for numbers in joined)
        flat = tuple(tuple(4 * number + pixel for number in numbers for pixel in range(4)) for numbers in mixed)
        return joined, mixed, mixed, mixed, mixed, flat


_MIXED = (("shuffled", 1), ("shuffled", 0), ("norm", 0), ("depthwise", 1), ("depthwise", 0), ("hidden", 1))


def images(count: int = 6) -> Tensor:
    return torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(1)).double()


def parts_of(network: nn.Module, group: Channels, channel: int) -> list[tuple[str, int, tuple[int, ...]]]:
    """Layer, axis and numbers of one channel at every place with weights, each weight once; by plain Python."""
    found = []
    spans = group.spans or (None,) * len(group.members)
    for (path, axis), span in zip(group.members, spans, strict=True):
        layer = network.get_submodule(path)
        passes = isinstance(layer, SelectChannels) or (isinstance(layer, nn.Conv2d) and layer.groups > 1 and axis == 1)
        own = span[channel] if span is not None else tuple(range(channel * group.unit, (channel + 1) * group.unit))
        if not passes:
            found.append((path, axis, own))
    return found


@torch.no_grad()
def scale(network: nn.Module, group: Channels, channel: int, factor: float, *, axes: tuple[int, ...] = (0, 1)) -> None:
    """Multiply all parameters that go with one channel, in place."""
    for path, axis, numbers in parts_of(network, group, channel):
        for name, parameter in network.get_submodule(path).named_parameters(recurse=False):
            if axis in axes and (axis == 0 or name == "weight"):
                parameter.transpose(0, axis)[list(numbers)] *= factor
