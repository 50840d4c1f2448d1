"""Where the channels of a group lie: in which layers, along which axis of each, at which numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Span = tuple[tuple[int, ...], ...]
"""For each channel of a group the numbers that it has along an axis; all channels have equally many."""


class Group(Protocol):
    """Channels that are cut together; `members` are (module path, weight axis), the producer first.

    Axis 0 are a layer's outputs, axis 1 its inputs, of a convolution in groups too. `spans` say of each member where
    along the axis the channels lie; None: they are the whole axis, in order; empty: so it is with all. What counts as
    one channel is `unit` channels of the layer that writes them, side by side where there is no span.
    """

    @property
    def name(self) -> str: ...

    @property
    def width(self) -> int: ...

    @property
    def members(self) -> tuple[tuple[str, int], ...]: ...

    @property
    def spans(self) -> tuple[Span | None, ...]: ...

    @property
    def unit(self) -> int: ...


@runtime_checkable
class Selection(Protocol):
    """A module that moves whole channels: output channel i is input channel `selected()[i]`; `select` gives others."""

    def selected(self) -> Sequence[int]: ...

    def select(self, channels: Sequence[int]) -> None: ...


@dataclass(frozen=True)
class Place:
    """A group's channels along one axis of one layer."""

    group: Group
    path: str
    axis: int
    span: Span | None

    @property
    def is_plain(self) -> bool:
        """Whether channel i of the group is number i along the axis, and there are no others."""
        return self.span is None and self.group.unit == 1

    @property
    def repeats(self) -> int:
        """How many numbers along the axis each channel has. Raises ValueError where channels differ in that."""
        if self.span is None:
            return self.group.unit
        lengths = {len(numbers) for numbers in self.span}
        if len(lengths) != 1:
            raise ValueError(
                f"group {self.group.name}: expected as many numbers of every channel along axis {self.axis} of "
                f"{self.path}, got {sorted(lengths)}"
            )
        return lengths.pop()

    def numbers(self) -> Tensor:
        """(width, repeats): the numbers of each channel."""
        shape = self.group.width, self.repeats
        if self.span is None:
            return torch.arange(shape[0] * shape[1]).reshape(shape)
        return torch.tensor(self.span).reshape(shape)

    def owners(self, size: int) -> Tensor:
        """(size,): the channel that each number along the axis belongs to; the group's width where to none."""
        owners = torch.full((size,), self.group.width)
        owners[self.numbers().flatten()] = torch.arange(self.group.width).repeat_interleave(self.repeats)
        return owners

    def spread(self, values: Tensor, size: int, other: float) -> Tensor:
        """Values (..., width), one per channel, as (..., size) along the axis; `other` where there is no channel."""
        if self.is_plain:
            return values
        rest = values.new_full((*values.shape[:-1], 1), other)
        return torch.cat([values, rest], -1)[..., self.owners(size).to(values.device)]

    def gathered(self, values: Tensor) -> Tensor:
        """Values (size, ...) along the axis as (width, repeats, ...)."""
        return values[self.numbers().to(values.device)]

    def summed(self, values: Tensor) -> Tensor:
        """Values (size,) along the axis, summed by channel: (width,)."""
        return values if self.is_plain else self.gathered(values).sum(1)


def places_of(group: Group) -> Iterator[Place]:
    """Every place of the group, by member. Raises ValueError for spans of another number than members."""
    spans = group.spans or (None,) * len(group.members)
    if len(spans) != len(group.members):
        raise ValueError(f"group {group.name}: expected {len(group.members)} spans or none, got {len(spans)}")
    for (path, axis), span in zip(group.members, spans, strict=True):
        yield Place(group, path, axis, span)


def channels_gone(groups: Iterable[Group], kept: Mapping[str, int]) -> Counter[tuple[str, int]]:
    """(path, axis) -> by how much it is shorter when the groups named in `kept` are cut to their counts."""
    gone = Counter[tuple[str, int]]()
    for group in groups:
        for place in places_of(group) if group.name in kept else ():
            gone[place.path, place.axis] += (group.width - kept[group.name]) * place.repeats
    return gone


def weighed(network: nn.Module, group: Group) -> Iterator[tuple[Place, nn.Module]]:
    """The places at which something is learned, each number once, with the layer.

    A selection has nothing to learn, and what a convolution in groups reads goes with what it writes.
    """
    for place in places_of(group):
        layer = network.get_submodule(place.path)
        if not isinstance(layer, Selection) and not (place.axis == 1 and _passes_on(layer)):
            yield place, layer


def readers(network: nn.Module, group: Group) -> list[Place]:
    """Where the group's channels end: the layers that make others of them. Raises ValueError where there is none.

    Not those that pass them on, as depthwise convolutions and selections do.
    """
    found = [place for place, _ in weighed(network, group) if place.axis == 1]
    if not found:
        raise ValueError(f"group {group.name}: expected a layer that reads its channels, got none")
    return found


def _passes_on(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups > 1
