"""The freedom of one kind of block: what a study lists for each field of its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field

from search_spaces.block_configs import Activation, BlockConfig, Kernel, Record
from search_spaces.kinds import kind_of, kinds_that_widen, kinds_with, read_block

Expansion = Literal[1, 2, 3, 4, 6]
Kernels = Annotated[
    tuple[Kernel, ...], Field(min_length=1, description="Sides of a block's square kernels, to choose from.")
]
Expansions = Annotated[
    tuple[Expansion, ...],
    Field(
        min_length=1,
        description="Factors on a block's inner width, to choose from: on its input's width "
        f"({kinds_that_widen('in')}), its output's ({kinds_that_widen('out')}) or half of that "
        f"({kinds_that_widen('half')}).",
    ),
]
SqueezeExcite = Annotated[
    tuple[bool, ...], Field(min_length=1, description="Whether a block has squeeze-and-excitation, to choose from.")
]
Activations = Annotated[
    tuple[Activation, ...],
    Field(
        min_length=1,
        description="Activations of a block, to choose from; int8 is often no faster than fp32 with hardswish.",
    ),
]
FIELDS = {"kernels": "kernel", "expansions": "expansion", "activations": "activation"}  # else list and field are alike


class BlockSpace(Record):
    """Lists of choices for a block; those that its kind does not have stay at their default."""

    kernels: Kernels
    expansions: Expansions = (1,)
    squeeze_excite: SqueezeExcite = Field(
        (False,),
        description=f"Whether it has squeeze-and-excitation, to choose from; only for {kinds_with('squeeze_excite')}.",
    )
    activations: Activations = ("relu",)

    def choices(self, kind: str, expansions: Expansions | None = None) -> Mapping[str, tuple[Any, ...]]:
        """The fields of the kind's record that are searched, each with its choices, in the order they are asked for.

        `expansions`, where given, take the place of the kind's own.
        """
        return _choices(self, kind_of(kind).fields, expansions or self.expansions)

    def configs(self, kind: str, expansions: Expansions | None = None) -> list[BlockConfig]:
        """Every record a block may have."""
        choices = self.choices(kind, expansions)
        every = (dict(zip(choices, answers, strict=True)) for answers in product(*choices.values()))
        return [read_block({"kind": kind, **answers}) for answers in every]

    def unknown_to(self, kind: str) -> Iterator[str]:
        """Names of the lists that are not at their default though the kind's record has no such field."""
        for key, field in type(self).model_fields.items():
            if field_of(key) not in kind_of(kind).fields and getattr(self, key) != field.default:
                yield key


@lru_cache(maxsize=1 << 8)  # asked for at every block of every draw
def _choices(space: BlockSpace, fields: tuple[str, ...], expansions: Expansions) -> Mapping[str, tuple[Any, ...]]:
    lists = {field_of(key): getattr(space, key) for key in BlockSpace.model_fields} | {"expansion": expansions}
    return {field: lists[field] for field in fields}


def field_of(key: str) -> str:
    """The field of a block's record whose choices the list of this name holds."""
    return FIELDS.get(key, key)
