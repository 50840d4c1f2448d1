"""Spaces: which architectures may be drawn. `sample(trial)` is pure; a gene that has no effect is never asked for."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import BlockConfig, Positive, Record
from search_spaces.block_spaces import Activations, BlockSpace, Expansions, Kernels, SqueezeExcite, field_of
from search_spaces.existing.space import ExistingSpace
from search_spaces.kinds import KINDS, BlockKind, KindName, kind_of, kinds_with, read_block
from search_spaces.mixes import AUTO, MIXES
from search_spaces.own_kinds import learn_kind, named_kinds
from search_spaces.presets import FAMILY_PRESETS, PRESETS
from search_spaces.sites import BlockSite
from search_spaces.trials import Trial, ask

Gene = bool | int | float | str
InputSize = Annotated[int, Field(ge=8, le=224)]
Preset = Literal["8px", "32px", "64px", "96px", "128px", "224px"]
Choices = Annotated[tuple[Positive, ...], Field(min_length=1)]


class StageSpace(Record):
    """One stage's freedom: how deep, how wide, and of what blocks; the stride is fixed."""

    depths: Choices = Field(description="Numbers of blocks, to choose from.")
    widths: Choices = Field(description="Channels of every block's output, to choose from; multiples of width_grid.")
    stride: Literal[1, 2] = Field(1, description="Stride of the first block; 2 halves height and width.")
    expansions: Expansions | None = Field(
        None, description="Expansions to choose from in this stage; by default those of the kind of block."
    )
    families: Annotated[tuple[KindName, ...], Field(min_length=1)] | None = Field(
        None, description="Kinds of blocks to choose from in this stage; by default all of the space's."
    )


class Space(Record):
    """What all families share: input, stem, stages and head. A preset fills what is not given.

    Choices are kept in ascending order, so the first of each gives the smallest network and the last the largest.
    Several input sizes, like several of anything, are searched; head width 0 is a network without head convolution.
    """

    family: Literal["mobile", "shuffle", "mixed"]
    preset: Preset | None = Field(
        None,
        description="Fills input_size, stem_widths, stem_stride, stages and head_widths where not given, at 8px "
        "kernels too, for images of this size; with family left out or auto, stages and blocks chosen by accuracy and "
        "latency. By default none.",
    )
    input_size: InputSize | Annotated[tuple[InputSize, ...], Field(min_length=1)] = Field(
        description="Height and width in pixels that images are brought to; of several one is chosen per network."
    )
    width_grid: Literal[8, 16] = Field(
        8,
        description="Widths of stem, stages and head are multiples of this, pruned ones too. Halves in shuffle units "
        "and squeeze layers need not be.",
    )
    stem_widths: Choices = Field(description="Channels of the first convolution, to choose from.")
    stem_stride: Literal[1, 2] = Field(1, description="Stride of the first convolution.")
    stages: Annotated[tuple[StageSpace, ...], Field(min_length=1)] = Field(
        description="The stages of blocks, in order, each with its own choices."
    )
    head_widths: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = Field(
        description="Channels of the last convolution, to choose from; 0 is a network without it."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        name = given.get("preset") if isinstance(given, dict) else None
        if not isinstance(name, str) or name not in PRESETS:
            return given
        family = given.get("family", "mobile")
        return {**PRESETS[name], **FAMILY_PRESETS.get((family, name), {}), **given}

    @model_validator(mode="after")
    def _check(self) -> Space:
        for name, values in self._choice_lists():
            _check_choices(name, values, self.width_grid)
        for i, stage in enumerate(self.stages):
            if strangers := set(stage.families or ()) - set(self.block_spaces()):
                known = ", ".join(self.block_spaces())
                raise ValueError(f"stages[{i}].families: expected some of {known}, got {', '.join(sorted(strangers))}")
        if min(self.input_sizes) < self.stride:
            raise ValueError(
                f"input_size: expected at least the total stride {self.stride}, got {min(self.input_sizes)}"
            )
        return self

    def _choice_lists(self) -> Iterator[tuple[str, Sequence[Gene]]]:
        yield "input_size", self.input_sizes
        for name in ("stem_widths", "head_widths", *self._block_keys()):
            yield name, getattr(self, name)
        for i, stage in enumerate(self.stages):
            for key in ("depths", "widths", "expansions", "families"):
                if getattr(stage, key) is not None:
                    yield f"stages[{i}].{key}", getattr(stage, key)

    def _block_keys(self) -> tuple[str, ...]:
        """Names of the lists of choices for blocks that this family's space has itself."""
        return _own_keys(type(self))

    def _own_block_space(self) -> BlockSpace:
        """The freedom of the only kind of block in a family whose space has the lists itself."""
        return _block_space(tuple((key, getattr(self, key)) for key in self._block_keys()))

    @abstractmethod
    def block_spaces(self) -> Mapping[str, BlockSpace]:
        """The kinds of blocks a stage may hold, each with its freedom."""

    @property
    def input_sizes(self) -> tuple[int, ...]:
        return (self.input_size,) if isinstance(self.input_size, int) else self.input_size

    @property
    def sections(self) -> int:
        """The stages: what describes a network, from its first block to its last, in numbers."""
        return len(self.stages)

    @property
    def words(self) -> str:
        """What is drawn, in words."""
        return f"blocks: {', '.join(kind.replace('_', ' ') for kind in self.block_spaces())}"

    def network(self, input_channels: int) -> None:
        """Every network follows from its record alone."""

    def identity(self, input_channels: int) -> Mapping[str, Any]:
        """All that decides what is drawn, as JSON."""
        return self.model_dump(mode="json", exclude={"trusted"})

    @property
    def has_weights(self) -> bool:
        """Whether networks begin with weights of another training."""
        return False

    @property
    def most_width_choices(self) -> int:
        """The most choices that there are of a width."""
        return max(len(widths) for widths in (self.stem_widths, *(stage.widths for stage in self.stages)))

    @property
    def stride(self) -> int:
        return self.stem_stride * math.prod(stage.stride for stage in self.stages)

    def sample(self, trial: Trial, *, input_channels: Literal[1, 3]) -> Architecture:
        """Draw one architecture. Stages and blocks are numbered from 1 in gene names."""
        # Built without validation, which would take most of a draw: the choices are those of a valid space.
        width = ask(trial, "stem.width", self.stem_widths)
        stem = StemConfig.model_construct(width=width, stride=self.stem_stride)
        spaces = self.block_spaces()
        stages = tuple(self._stage(trial, f"stage{s}", stage, spaces) for s, stage in enumerate(self.stages, start=1))
        head_width = ask(trial, "head.width", self.head_widths)
        head = HeadConfig.model_construct(width=head_width) if head_width else None
        size = ask(trial, "input_size", self.input_sizes)
        return Architecture.model_construct(
            input_size=size, input_channels=input_channels, stem=stem, stages=stages, head=head
        )

    def _stage(self, trial: Trial, name: str, space: StageSpace, spaces: Mapping[str, BlockSpace]) -> StageConfig:
        kind = ask(trial, f"{name}.family", space.families or tuple(spaces))
        depth = ask(trial, f"{name}.depth", space.depths)
        width = ask(trial, f"{name}.width", space.widths)
        choices = spaces[kind].choices(kind, space.expansions)
        own = f".{kind}" if len(spaces) > 1 else ""  # genes are named after the kind, since each has its own choices
        blocks = tuple(_block(trial, f"{name}.block{b}{own}", kind, choices) for b in range(1, depth + 1))
        return StageConfig.model_construct(width=width, stride=space.stride, blocks=blocks)

    def kinds(self, stage: StageSpace) -> tuple[str, ...]:
        """The kinds of blocks that a stage may hold."""
        return stage.families or tuple(self.block_spaces())

    def of_one_kind(self) -> list[Space]:
        """This space once per kind of block, with no other kind in any stage that need not have one."""
        return [
            self.model_copy(update={"stages": tuple(map(_preferring(kind), self.stages))})
            for kind in self.block_spaces()
        ]

    def count(
        self, ways: Callable[[Sequence[BlockSite], Sequence[BlockSite], int], int], head: Callable[[int], int]
    ) -> int:
        """Number of architectures, each stage counted by `ways(firsts, others, depth)`, each head by `head(width)`.

        `firsts` are all sites a stage's first block may be, `others` those of every later block. Which layers a block
        has may depend on the width before it, so the sum runs over widths from stage to stage.
        """
        counts = dict.fromkeys(self.stem_widths, 1)
        for stage in self.stages:
            after = dict.fromkeys(stage.widths, 0)
            for (before, count), width, kind, depth in product(
                counts.items(), stage.widths, self.kinds(stage), stage.depths
            ):
                configs = self.block_spaces()[kind].configs(kind, stage.expansions)
                firsts = [BlockSite("stage.block1", c, before, width, stage.stride, self.stride) for c in configs]
                others = [BlockSite("stage.block2", c, width, width, 1, self.stride) for c in configs]
                after[width] += count * ways(firsts, others, depth)
            counts = after
        return sum(counts.values()) * sum(map(head, self.head_widths)) * len(self.input_sizes)


class MobileSpace(Space):
    """Networks of inverted residual blocks."""

    family: Literal["mobile"] = Field("mobile", description="mobile: every block is an inverted residual.")
    kernels: Kernels = (3, 5, 7)
    expansions: Expansions = (1, 2, 3, 4, 6)
    squeeze_excite: SqueezeExcite = (False, True)
    activations: Activations = ("relu", "relu6", "hardswish")

    def block_spaces(self) -> Mapping[str, BlockSpace]:
        return {"inverted_residual": self._own_block_space()}


class ShuffleSpace(Space):
    """Networks of ShuffleNetV2 units."""

    family: Literal["shuffle"] = Field(description="shuffle: every block is a ShuffleNetV2 unit.")
    kernels: Kernels = (3, 5, 7)
    expansions: Expansions = (1, 2)
    activations: Activations = ("relu",)

    def block_spaces(self) -> Mapping[str, BlockSpace]:
        return {"shuffle": self._own_block_space()}


def _block(trial: Trial, gene: str, kind: str, choices: Mapping[str, tuple[Any, ...]]) -> BlockConfig:
    """Draw a block's record; its genes are named `gene` and the field."""
    answers = tuple(ask(trial, f"{gene}.{field}", options) for field, options in choices.items())
    return _block_of(kind_of(kind), kind, tuple(choices), answers)


@cache
def _own_keys(space: type[Space]) -> tuple[str, ...]:
    return tuple(key for key in BlockSpace.model_fields if key in space.model_fields)


@lru_cache(maxsize=1 << 8)
def _block_space(lists: tuple[tuple[str, tuple[Any, ...]], ...]) -> BlockSpace:
    return BlockSpace(**dict(lists))


@lru_cache(maxsize=1 << 12)
def _block_of(row: BlockKind, kind: str, fields: tuple[str, ...], answers: tuple[Any, ...]) -> BlockConfig:
    """The record of these answers, of the kind that has this row."""
    return read_block({"kind": kind, **dict(zip(fields, answers, strict=True))})


def _mixed_blocks() -> dict[str, BlockSpace]:
    return {name: BlockSpace(**kind.defaults) for name, kind in KINDS.items() if kind.defaults is not None}


class MixedSpace(Space):
    """Networks whose stages each choose a kind of block."""

    family: Literal["mixed"] = Field(
        description="mixed: each stage chooses a kind of block among `blocks`. auto, or left out beside a preset: "
        "mixed, with stages and blocks for the preset's size, chosen by accuracy and latency."
    )
    blocks: Annotated[dict[KindName, BlockSpace], Field(min_length=1)] = Field(
        default_factory=_mixed_blocks,
        description="The kinds of blocks, each with its choices; by default all of these: "
        f"{', '.join(_mixed_blocks())}. A kind of your own is named package.module:Class; see trusted.",
    )
    trusted: bool = Field(
        False,
        description="Whether code that the study names may be run: a kind of block that is named package.module:Class "
        "is imported wherever the study or its run folder is read.",
    )

    @model_validator(mode="before")
    @classmethod
    def _learn_own_kinds(cls, given: Any) -> Any:
        """Import the kinds of the user's own; this comes before anything asks whether such a kind is known."""
        if not isinstance(given, dict) or not (own := named_kinds(_names_of_kinds(given))):
            return given
        if given.get("trusted") is not True:
            raise ValueError(f"trusted: expected true, since this study would run the code of {', '.join(own)}")
        for name in own:
            try:
                learn_kind(name)
            except ValueError as error:
                raise ValueError(f"blocks: {error}") from None
        return given

    @model_validator(mode="before")
    @classmethod
    def _fill_from_mix(cls, given: Any) -> Any:
        """A space that names no family is the mix of its preset."""
        if not isinstance(given, dict) or given.get("family", AUTO) != AUTO:
            return given
        name = given.get("preset")
        if name is None:
            raise ValueError(f"preset: expected one of {', '.join(MIXES)} with family {AUTO}, got nothing")
        mix = MIXES.get(name, {}) if isinstance(name, str) else {}
        return {**mix, **given, "family": "mixed"}

    @model_validator(mode="after")
    def _check_blocks(self) -> MixedSpace:
        for kind, space in self.blocks.items():
            for key in space.unknown_to(kind):
                expected, came = _listed(BlockSpace.model_fields[key].default), _listed(getattr(space, key))
                only = f"only for {kinds_with(field_of(key))}"
                raise ValueError(f"blocks.{kind}.{key}: expected {expected} ({only}), got {came}")
            for key in BlockSpace.model_fields:
                _check_choices(f"blocks.{kind}.{key}", getattr(space, key), self.width_grid)
        return self

    def block_spaces(self) -> Mapping[str, BlockSpace]:
        return self.blocks


def _names_of_kinds(given: Mapping[str, Any]) -> Iterator[object]:
    """What a space that is not validated yet names as kinds of blocks."""
    for lists in (given.get("blocks"), *(_families(stage) for stage in _entries(given.get("stages")))):
        yield from _entries(lists)


def _families(stage: object) -> object:
    return stage.get("families") if isinstance(stage, Mapping) else getattr(stage, "families", None)


def _entries(value: object) -> Iterable[object]:
    return value if isinstance(value, Mapping | list | tuple) else ()


def _family(value: Any) -> str:
    """The family of a space, as it is or by its keys. With a base it is a network that exists; with a preset alone it
    is mixed; with lists of choices for blocks or without a preset it is mobile, as before there were mixes.
    """
    if not isinstance(value, dict):
        return str(getattr(value, "family", None))
    if "base" in value:
        return "existing"
    of_mobile = value.get("preset") is None or not value.keys().isdisjoint(_own_keys(MobileSpace))
    family = value.get("family", "mobile" if of_mobile else AUTO)
    return "mixed" if family == AUTO else str(family)


AnySpace = Annotated[
    Annotated[MobileSpace, Tag("mobile")]
    | Annotated[ShuffleSpace, Tag("shuffle")]
    | Annotated[MixedSpace, Tag("mixed")]
    | Annotated[ExistingSpace, Tag("existing")],
    Discriminator(_family),
]


def _preferring(kind: str) -> Callable[[StageSpace], StageSpace]:
    def narrowed(stage: StageSpace) -> StageSpace:
        allowed = stage.families is None or kind in stage.families
        return stage.model_copy(update={"families": (kind,)}) if allowed else stage

    return narrowed


def _check_choices(name: str, values: Sequence[Gene], grid: int) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"{name}: every choice once, got {list(values)}")
    if name.endswith("widths") and any(int(value) % grid for value in values):
        raise ValueError(f"{name}: expected multiples of width_grid {grid}, got {list(values)}")
    if all(isinstance(v, int) for v in values) and list(values) != sorted(values):
        raise ValueError(f"{name}: expected ascending order, got {list(values)}")


def _listed(values: Sequence[Gene]) -> str:
    """Choices as they stand in a study."""
    return str(list(values)).lower()
