"""The kinds of blocks, one row each: all that the rest of the package knows of a kind stands in its row.

A block is a table of `LayerRow`s. Each says which width a layer reads and which it writes, by name: "in" and "out" are
the block's ends, "inner" is its free width, "half" a half of the output, "squeeze" the bottleneck of squeeze-excite.
Shapes, costs and channel groups all follow from the table.

A new kind needs a record in `block_configs`, a torch module in `blocks` and a row here; `tests/test_block_kinds.py`
tests every row. A kind that a study brings along (`own_kinds`) has its row in `OWN_KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, cast

from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from search_spaces.block_configs import (
    BlockConfig,
    FusedInvertedResidualConfig,
    InvertedResidualConfig,
    PlainConfig,
    Record,
    ResidualConfig,
    ShuffleConfig,
)
from search_spaces.layers import LayerKind
from search_spaces.own_code import NAMED, is_named

Width = Literal["in", "inner", "half", "out", "squeeze"]
DEFAULT_KIND = "inverted_residual"  # what a record without `kind` is


class LayerRow(NamedTuple):
    """One layer of a block.

    at: which map it works on: the block's input map, from there to the output map (the strided layer), the output map,
    or 1x1 after global pooling, where no batch norm follows.
    """

    layer: str
    kind: LayerKind
    reads: Width
    writes: Width
    kernel: int = 1
    at: Literal["input", "strided", "output", "pooled"] = "input"

    @property
    def has_norm(self) -> bool:
        """Whether a batch norm of its name follows."""
        return self.at != "pooled"


def _no_arguments(config: BlockConfig, inner: int) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockKind:
    """One kind of block.

    config: record of a block's choices, with `kind`, the row's name, and the fields that `fields` names.
    rows: the layers in order of execution, of a record and of whether input and output have one shape.
    module: class of the torch module or "module:Class", imported when the first block is built. It is called with
        (in_channels, out_channels, inner=, kernel=, stride=, activation=) and what `arguments` adds.
    widens: the width that `expansion` multiplies, which gives the inner width; None: the record has no expansion, and
        the block no inner width.
    adds_input: whether the input itself is added to the output where shapes allow: both then hold the same channels.
    splits: whether the output is written in two halves, and read so where shapes allow; such widths are not pruned.
    choices: fields of the record that are searched besides kernel, expansion and activation; `BlockSpace` has a list
        of each name.
    arguments: further keyword arguments of the module, of a record and its inner width.
    defaults: lists of choices where a mixed space names no kinds; None: such a space goes without this kind.
    """

    config: type[Record]
    rows: Callable[[Any, bool], Iterable[LayerRow]]
    module: str | Callable[..., Any]
    widens: Literal["in", "out", "half"] | None
    adds_input: bool = True
    splits: bool = False
    choices: tuple[str, ...] = ()
    arguments: Callable[[Any, int], Mapping[str, Any]] = _no_arguments
    defaults: Mapping[str, tuple[Any, ...]] | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the record that are searched, in the order they are asked for."""
        return ("kernel", *(["expansion"] if self.widens else []), *self.choices, "activation")


def squeezed(inner: int) -> int:
    """Width of the squeeze-excite bottleneck: a quarter of the unpruned inner width, on the grid of 8."""
    return max(8, inner // 4 // 8 * 8)


def _inverted_residual(config: InvertedResidualConfig, keeps_shape: bool) -> Iterator[LayerRow]:
    inner: Width = "inner" if config.expansion > 1 else "in"
    if inner == "inner":
        yield LayerRow("expand", "pointwise", "in", "inner")
    yield LayerRow("depthwise", "depthwise", inner, inner, config.kernel, "strided")
    if config.squeeze_excite:
        yield LayerRow("squeeze_excite.squeeze", "pointwise", inner, "squeeze", at="pooled")
        yield LayerRow("squeeze_excite.excite", "pointwise", "squeeze", inner, at="pooled")
    yield LayerRow("project", "pointwise", inner, "out", at="output")


def _inverted_residual_arguments(config: InvertedResidualConfig, inner: int) -> dict[str, Any]:
    return {"expand": config.expansion > 1, "squeezed": squeezed(inner) if config.squeeze_excite else 0}


def _fused_inverted_residual(config: FusedInvertedResidualConfig, keeps_shape: bool) -> Iterator[LayerRow]:
    yield LayerRow("expand", "conv", "in", "inner", config.kernel, "strided")
    yield LayerRow("project", "pointwise", "inner", "out", at="output")


def _residual(config: ResidualConfig, keeps_shape: bool) -> Iterator[LayerRow]:
    yield LayerRow("conv1", "conv", "in", "inner", config.kernel, "strided")
    yield LayerRow("conv2", "conv", "inner", "out", config.kernel, "output")
    if not keeps_shape:
        yield LayerRow("shortcut", "pointwise", "in", "out", at="strided")


def _shuffle(config: ShuffleConfig, keeps_shape: bool) -> Iterator[LayerRow]:
    if not keeps_shape:
        yield LayerRow("shortcut_depthwise", "depthwise", "in", "in", config.kernel, "strided")
        yield LayerRow("shortcut_project", "pointwise", "in", "half", at="output")
    yield LayerRow("expand", "pointwise", "half" if keeps_shape else "in", "inner")
    yield LayerRow("depthwise", "depthwise", "inner", "inner", config.kernel, "strided")
    yield LayerRow("project", "pointwise", "inner", "half", at="output")


def _plain(config: PlainConfig, keeps_shape: bool) -> Iterator[LayerRow]:
    yield LayerRow("conv", "conv", "in", "out", config.kernel, "strided")


# The order is that of the choices of a mixed space that names no kinds.
KINDS: dict[str, BlockKind] = {
    "residual": BlockKind(
        config=ResidualConfig,
        rows=_residual,
        module="search_spaces.blocks:Residual",
        widens="out",
        defaults={"kernels": (3,), "expansions": (1,)},
    ),
    "fused_inverted_residual": BlockKind(
        config=FusedInvertedResidualConfig,
        rows=_fused_inverted_residual,
        module="search_spaces.blocks:FusedInvertedResidual",
        widens="in",
        defaults={"kernels": (3,), "expansions": (1, 2, 4)},
    ),
    "inverted_residual": BlockKind(
        config=InvertedResidualConfig,
        rows=_inverted_residual,
        module="search_spaces.blocks:InvertedResidual",
        widens="in",
        choices=("squeeze_excite",),
        arguments=_inverted_residual_arguments,
        defaults={
            "kernels": (3, 5),
            "expansions": (2, 3, 4, 6),
            "squeeze_excite": (False, True),
            "activations": ("relu", "hardswish"),
        },
    ),
    "shuffle": BlockKind(
        config=ShuffleConfig,
        rows=_shuffle,
        module="search_spaces.blocks:ShuffleUnit",
        widens="half",
        adds_input=False,
        splits=True,
        defaults={"kernels": (3, 5), "expansions": (1, 2)},
    ),
    "plain": BlockKind(
        config=PlainConfig,
        rows=_plain,
        module="search_spaces.blocks:Plain",
        widens=None,
        adds_input=False,
    ),
}

# By `package.module:Class`: kinds of studies that this process has read.
OWN_KINDS: dict[str, BlockKind] = {}


def kind_of(name: str) -> BlockKind:
    """The row of a kind. Raises KeyError for one that is not known."""
    row = KINDS.get(name)
    return OWN_KINDS[name] if row is None else row


def kinds_with(field: str) -> str:
    """Names of the kinds whose record has this field."""
    return ", ".join(name for name, kind in KINDS.items() if field in kind.fields)


def kinds_that_widen(width: Width) -> str:
    """Names of the kinds whose expansion multiplies this width."""
    return ", ".join(name for name, kind in KINDS.items() if kind.widens == width)


def known_kind(name: str) -> str:
    """`name`, if there is such a row; raises ValueError with the names there are."""
    if isinstance(name, str) and (name in KINDS or name in OWN_KINDS):
        return name
    if is_named(name):
        raise ValueError(f"expected a kind of a study that this process has read, got {name}; its study names it")
    raise ValueError(f"expected one of {', '.join(KINDS)} or package.module:Class, got {name!r}")


def read_block(value: Any) -> BlockConfig:
    """The record of a block of any kind, out of its fields or as it is; without `kind` it is of the default kind.

    Raises ValueError for a kind that has no row, and pydantic's ValidationError for fields its record does not take.
    """
    given = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    try:
        kind = kind_of(known_kind(given or DEFAULT_KIND))
    except ValueError as error:
        raise ValueError(f"kind: {error}") from None
    return cast("BlockConfig", kind.config.model_validate(value))


_WAYS = [{"enum": list(KINDS), "type": "string"}, {"pattern": NAMED, "type": "string"}]
KIND_NAMES: dict[str, Any] = {"type": "string", "anyOf": _WAYS}
KindName = Annotated[str, AfterValidator(known_kind), WithJsonSchema(KIND_NAMES)]
AnyBlock = Annotated[BlockConfig, PlainValidator(read_block)]
