"""The record of an existing network in a candidate: which one, by digest, and on which images. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, model_validator

from search_spaces.block_configs import Positive, Record
from search_spaces.existing import groups, parts
from search_spaces.existing.blueprint import Blueprint
from search_spaces.existing.executed import NORMED
from search_spaces.existing.flows import stretches_of
from search_spaces.existing.known import blueprint_of
from search_spaces.flows import Stretch
from search_spaces.layers import ChannelGroup, LayerSpec
from search_spaces.parts import Part
from search_spaces.remembered import remembered
from search_spaces.sites import BlockSite

Numbers = Annotated[tuple[FiniteFloat, ...], Field(min_length=1, max_length=3)]
SECTIONS = 8  # runs of parts, by which a network is described: as fine as stages of blocks are


class PixelNorm(Record):
    """Normalise pixels in [0, 1] as (x - mean) / std, by one number for all channels or by one for each."""

    mean: Numbers = Field(description="What is subtracted from pixels in [0, 1].")
    std: Numbers = Field(description="What the difference is divided by.")


class ExistingArchitecture(Record):
    """A network that exists already, without its class count.

    base: what it was read from, by name. network: digest of its blueprint. weights: digest of the weights it begins
    with; "": it begins with random ones. input_channels: of the images that it is given, which `pixels` repeat where
    they are more. pixels: how they are normalised; None: by the mean and deviation of the data.
    """

    base: str
    network: str
    weights: str = ""
    input_size: Positive
    input_channels: Literal[1, 3]
    pixels: PixelNorm | None = None

    @model_validator(mode="after")
    def _is_known(self) -> ExistingArchitecture:
        blueprint_of(self.network)
        return self

    @property
    def blueprint(self) -> Blueprint:
        return blueprint_of(self.network)

    @property
    def sections(self) -> int:
        return SECTIONS

    def section_of(self, part: str) -> int | None:
        """The number of the run of parts that a part is in; None of the first and the last one."""
        return self._sections().get(part)

    @remembered
    def _sections(self) -> Mapping[str, int]:
        """Every part between the first and the last, in at most SECTIONS runs of about equally many."""
        inner = [part.name for part in self.parts(1) if not part.is_edge]
        runs = min(SECTIONS, max(1, len(inner)))
        return {name: number * runs // len(inner) for number, name in enumerate(inner)}

    def untrained(self) -> ExistingArchitecture:
        """The same network with random weights to begin with."""
        return self.model_copy(update={"weights": ""}) if self.weights else self

    def stretches(self) -> tuple[Stretch, ...] | None:
        """What it does between its layers, in runs of parts; None where a layer is run more than once."""
        channels = 0 if self.pixels is None or len(self.pixels.mean) == 1 else len(self.pixels.mean)
        return stretches_of(self.blueprint, self.input_size, channels)

    @property
    def head_width(self) -> int:
        return 0

    def blocks(self) -> tuple[BlockSite, ...]:
        """None: its parts are of no kind that is known."""
        return ()

    def operations(self) -> dict[str, Any]:
        """The whole network: all that shows in no layer's shape."""
        pixels = {} if self.pixels is None else {"pixels": self.pixels.model_dump(mode="json")}
        return {"network": self.network, **pixels}

    def layers(self, num_classes: int, kept: Mapping[str, int] | None = None) -> tuple[LayerSpec, ...]:
        """Every layer once, in order of execution; `kept` maps a channel group to its channels after pruning."""
        return parts.layers_of(self.blueprint, self.input_size, num_classes=num_classes, kept=kept or {})

    def parts(self, num_classes: int, kept: Mapping[str, int] | None = None) -> tuple[Part, ...]:
        """The layers by part; `kept` as in `layers`."""
        return parts.parts_of(self.blueprint, self.input_size, num_classes=num_classes, kept=kept or {})

    def groups(self) -> tuple[ChannelGroup, ...]:
        """Channels within one part, and those that one layer alone writes."""
        return groups.grouped(self.blueprint, self.input_size).inner

    def width_groups(self) -> tuple[ChannelGroup, ...]:
        """Channels that several layers of several parts write together, as residual connections make them do."""
        return groups.grouped(self.blueprint, self.input_size).between

    def all_groups(self) -> tuple[ChannelGroup, ...]:
        """Everything that can be pruned."""
        return groups.grouped(self.blueprint, self.input_size).all

    def has_norm(self, group: ChannelGroup) -> bool:
        """Whether a batch norm is among a group's members."""
        norms = {node.path for node in self.blueprint.nodes if node.op in NORMED}
        return any(path in norms for path, _ in group.members)
