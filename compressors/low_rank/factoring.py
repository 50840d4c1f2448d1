"""What may be asked of a layer: a method, and how its ranks are chosen. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from compressors.low_rank.factors import METHODS, Ranks, Shape

MethodName = Literal["svd", "spatial_svd", "tucker", "cp"]
Rank = Annotated[int, Field(ge=1)]
Portion = Annotated[float, Field(gt=0, lt=1)]
CHOOSING = ("rank", "ratio", "energy", "vbmf")


class Factoring(BaseModel):
    """How a layer is factored: a method and one of `rank`, `ratio`, `energy` and `vbmf`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    method: MethodName = Field(
        description="`svd` of the weight as a matrix (a k x k convolution becomes one of fewer channels and a "
        "pointwise one); of k x k convolutions alone: `spatial_svd` (k x 1, then 1 x k; arXiv:1511.06067), `tucker` "
        "(pointwise, k x k of fewer channels, pointwise; arXiv:1511.06530) and `cp` (pointwise, k x 1 and 1 x k per "
        "channel, pointwise; arXiv:1412.6553)."
    )
    rank: Rank | tuple[Rank, Rank] | None = Field(
        None,
        description="The rank; of `tucker` also [rank of inputs, rank of outputs]. By default one of the keys below "
        "tells it.",
    )
    ratio: Portion | None = Field(
        None,
        description="The share of the layer's parameters that goes: the rank is the largest that leaves the rest. By "
        "default another key tells the rank.",
    )
    energy: Portion | None = Field(
        None,
        description="The share of the trained weights' energy (squared singular values) that stays: the rank is the "
        "smallest that keeps it. Not for `cp`. By default another key tells the rank.",
    )
    vbmf: Literal[True] | None = Field(
        None,
        description="The rank is told from the trained weights by variational Bayesian matrix factorization; a layer "
        "in which it finds nothing but noise stays whole. Not for `cp`. By default another key tells the rank.",
    )
    settled: SkipJsonSchema[Literal[True] | None] = Field(
        None, description="What a training came to: the layer has these ranks, whatever its shape is by now."
    )

    @model_validator(mode="before")
    @classmethod
    def _pairs(cls, given: Any) -> Any:
        """A pair of ranks comes as a list from JSON and YAML."""
        if isinstance(given, Mapping) and isinstance(given.get("rank"), list):
            return {**given, "rank": tuple(given["rank"])}
        return given

    @model_validator(mode="after")
    def _check(self) -> Factoring:
        given = [name for name in CHOOSING if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of {', '.join(CHOOSING)}, got {' and '.join(given) or 'none'}")
        if self.settled and self.rank is None:
            raise ValueError(f"settled: expected a rank beside it, got {given[0]}")
        if isinstance(self.rank, tuple) and self.method != "tucker":
            raise ValueError(f"rank: expected one number for {self.method}, got {list(self.rank)}")
        if self.depends_on_weights and not METHODS[self.method].has_spectrum:
            raise ValueError(f"{given[0]}: expected rank or ratio for {self.method}, which has no singular values")
        return self

    def __str__(self) -> str:
        if self.vbmf:
            return f"{self.method} vbmf"
        if self.rank is not None:
            return f"{self.method} rank {'+'.join(map(str, self._ranks()))}"
        return f"{self.method} ratio {self.ratio:g}" if self.ratio else f"{self.method} energy {self.energy:g}"

    @model_serializer(mode="wrap")
    def _without_none(self, serialized: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialized(self).items() if value is not None}

    def decision(self) -> dict[str, Any]:
        """JSON for a plan."""
        return self.model_dump(mode="json")

    @property
    def depends_on_weights(self) -> bool:
        return self.energy is not None or self.vbmf is not None

    def fits(self, shape: Shape) -> bool:
        """Whether a layer of this shape can be factored so."""
        return METHODS[self.method].fits(shape)

    def at(self, ranks: Ranks, *, settled: bool = False) -> Factoring:
        """The same with these ranks, written out."""
        rank = (ranks[0], ranks[-1]) if self.method == "tucker" else ranks[0]
        return Factoring(method=self.method, rank=rank, settled=settled or None)

    def least(self) -> Factoring:
        """The same with the smallest ranks there are."""
        return self.at((1, 1) if self.method == "tucker" else (1,))

    def ranks_of(self, shape: Shape) -> Ranks | None:
        """The ranks in a layer of this shape; None where it is left alone: factors would have no fewer parameters.

        Raises ValueError where the ranks depend on weights.
        """
        if self.depends_on_weights:
            raise ValueError(f"{self}: expected ranks that a shape tells, got ones that depend on weights")
        if self.settled:
            return self._ranks()
        method = METHODS[self.method]
        if not method.fits(shape):
            return None
        ranks = method.within(shape, (1 - self.ratio) * shape.parameters) if self.ratio else self._ranks()
        ranks = tuple(map(min, ranks, method.full(shape)))
        return ranks if method.parameters(shape, ranks) < shape.parameters else None

    def factors_of(self, shape: Shape) -> tuple[Shape, ...]:
        """The factors of a layer of this shape, in order; the layer itself where it is left alone."""
        ranks = self.ranks_of(shape)
        return (shape,) if ranks is None else METHODS[self.method].factors(shape, ranks)

    def _ranks(self) -> Ranks:
        assert self.rank is not None
        ranks = self.rank if isinstance(self.rank, tuple) else (self.rank,)
        return ranks * 2 if self.method == "tucker" and len(ranks) == 1 else ranks


def factoring_of(layer: str, given: Any) -> Factoring:
    """A decision of a plan. Raises ValueError, with the layer, where it is none."""
    try:
        return Factoring.model_validate(given)
    except ValueError as error:
        raise ValueError(f"low_rank of {layer}: {_first(error)}") from None


def _first(error: ValueError) -> str:
    """The first problem of a validation, on one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"].removeprefix("Value error, ")
