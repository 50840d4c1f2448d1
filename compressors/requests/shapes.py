"""What a request needs to know of a network's channel groups and layers. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from compressors.plan import CompressionPlan


class GroupShape(Protocol):
    """A channel group before pruning; each channel is `unit` channels of the layer that writes it."""

    @property
    def name(self) -> str: ...

    @property
    def width(self) -> int: ...

    @property
    def unit(self) -> int: ...


class LayerShape(Protocol):
    """A convolution or linear layer of the network that is shipped, as far as that is known without weights.

    `kind` is conv, depthwise, pointwise or linear.
    """

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def in_channels(self) -> int: ...

    @property
    def out_channels(self) -> int: ...

    @property
    def weight_count(self) -> int: ...


Least = Callable[[CompressionPlan, Sequence[GroupShape], Sequence[LayerShape]], CompressionPlan]
