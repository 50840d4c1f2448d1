"""What the rest of the package needs of an architecture and of a space, whatever they are made of. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from search_spaces.block_spaces import BlockSpace
from search_spaces.flows import Stretch
from search_spaces.layers import ChannelGroup, LayerSpec
from search_spaces.parts import Part
from search_spaces.sites import BlockSite
from search_spaces.trials import Trial


class ArchitectureLike(Protocol):
    """A network without its class count: its layers and channel groups in order of execution.

    `kept` maps a channel group to its channels after pruning.
    """

    @property
    def input_size(self) -> int: ...

    @property
    def input_channels(self) -> Literal[1, 3]: ...

    @property
    def sections(self) -> int:
        """In how many sections, from the first to the last, it is described in numbers."""
        ...

    def section_of(self, part: str) -> int | None:
        """The number of a part's section, from 0 on; None of what lies before and behind them."""
        ...

    def untrained(self) -> ArchitectureLike:
        """The same network with random weights to begin with."""
        ...

    def stretches(self) -> tuple[Stretch, ...] | None:
        """What it does between its layers, in runs of parts; None where each part says so of itself, or none does."""
        ...

    @property
    def head_width(self) -> int:
        """Channels of a layer before the classifier that is no block; 0 without one."""
        ...

    def blocks(self) -> tuple[BlockSite, ...]:
        """Its blocks with their places, where it is made of blocks of known kinds."""
        ...

    def operations(self) -> Mapping[str, Any]:
        """What it does beyond its layers' shapes, as JSON: costs depend on it."""
        ...

    def layers(self, num_classes: int, kept: Mapping[str, int] | None = None) -> tuple[LayerSpec, ...]: ...

    def parts(self, num_classes: int, kept: Mapping[str, int] | None = None) -> Iterable[Part]: ...

    def groups(self) -> tuple[ChannelGroup, ...]:
        """Widths within a part."""
        ...

    def width_groups(self) -> tuple[ChannelGroup, ...]:
        """Widths between parts."""
        ...

    def all_groups(self) -> tuple[ChannelGroup, ...]: ...

    def has_norm(self, group: ChannelGroup) -> bool:
        """Whether a batch norm is among a group's members."""
        ...


class SpaceLike(Protocol):
    """What may be drawn."""

    @property
    def input_sizes(self) -> tuple[int, ...]:
        """Sides of images in pixels, ascending."""
        ...

    @property
    def width_grid(self) -> int: ...

    @property
    def sections(self) -> int:
        """The most sections that a network of it has."""
        ...

    @property
    def words(self) -> str:
        """What is drawn, in words."""
        ...

    def network(self, input_channels: int) -> Mapping[str, Any] | None:
        """A blueprint, as JSON, that a process must know where candidates are read; None: it need know nothing."""
        ...

    def identity(self, input_channels: int) -> Mapping[str, Any]:
        """All that decides what is drawn, as JSON."""
        ...

    @property
    def has_weights(self) -> bool:
        """Whether networks begin with weights of another training."""
        ...

    @property
    def most_width_choices(self) -> int:
        """The most choices that there are of a width."""
        ...

    @property
    def stride(self) -> int:
        """The side in pixels of the smallest image."""
        ...

    def block_spaces(self) -> Mapping[str, BlockSpace]:
        """The kinds of blocks it is made of, each with its freedom; none of a network that exists already."""
        ...

    def of_one_kind(self) -> Sequence[SpaceLike]:
        """This space once per kind of block, with no other kind where there is a choice."""
        ...

    def sample(self, trial: Trial, *, input_channels: Literal[1, 3]) -> Any:
        """Draw one architecture."""
        ...
