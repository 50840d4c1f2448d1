"""What may be searched: a number is written as a number, as a range or as choices, a word as a word or as choices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, Union, get_args

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from nas.study.section import Section, each_once

Number = TypeVar("Number")


class Freedom(Section, Generic[Number]):
    """Base of the ways to search a number."""

    @classmethod
    def __class_getitem__(cls, number: Any) -> Any:
        kind = super().__class_getitem__(number)
        return kind if isinstance(number, TypeVar) else _named(kind, cls, get_args(number)[-1])


@cache
def _named(kind: Any, generic: type[Any], word: str) -> Any:
    """`Range[Share]` as RangeOfShares: editors show the name, and pydantic's own would be the bounds spelled out."""
    return type(kind)(f"{generic.__name__}Of{word}", (kind,), {"__doc__": generic.__doc__, "__module__": __name__})


class Range(Freedom[Number], Generic[Number]):
    """A number that is searched between two bounds."""

    low: Number = Field(description="Smallest value.")
    high: Number = Field(description="Largest value.")
    log: bool = Field(
        False, description="Whether the number is drawn on a logarithmic scale; by default on a linear one."
    )

    @model_validator(mode="after")
    def _check(self) -> Range[Number]:
        low, high = float(self.low), float(self.high)  # type: ignore[arg-type]
        if low >= high:
            raise ValueError(f"high: expected a number above low {low:g}, got {high:g}")
        if self.log and low <= 0:
            raise ValueError(f"low: expected a number above 0 on a logarithmic scale, got {low:g}")
        return self


class Choices(Freedom[Number], Generic[Number]):
    """A value that is searched among given ones."""

    choices: Annotated[tuple[Number, ...], Field(min_length=1)] = Field(description="The values, each once.")

    @field_validator("choices")
    @classmethod
    def _distinct(cls, choices: tuple[Number, ...]) -> tuple[Number, ...]:
        each_once("choice", choices)
        return choices


def _spelling(value: Any) -> str:
    """The tag of the way in which a number is written.

    The tag `Choices` is the beginning of that record's name: errors beside `choices` then list its keys alone. Any
    other mapping may have been meant as either record.
    """
    if isinstance(value, Range | Choices):
        return "Choices" if isinstance(value, Choices) else "mapping"
    if not isinstance(value, dict):
        return "number"
    return "Choices" if "choices" in value else "mapping"


def _one_or_choices(value: Any) -> str:
    """The same where there is but one way to search: any mapping is meant as that."""
    return "Choices" if isinstance(value, dict | Choices) else "number"


def _tagged(ways: Sequence[tuple[str, Any]], spelling: Callable[[Any], str]) -> Any:
    return Annotated[Union[*(Annotated[kind, Tag(tag)] for tag, kind in ways)], Discriminator(spelling)]


if TYPE_CHECKING:  # a type checker cannot follow __class_getitem__; these are the unions that it returns
    Searchable = Union[Number, Range[Number], Choices[Number]]  # noqa: UP007
    Choosable = Union[Number, Choices[Number]]  # noqa: UP007
else:

    class Searchable:
        """`Searchable[X]`: an X, a range of X or choices of X; its bounds hold for each of them."""

        def __class_getitem__(cls, number: Any) -> Any:
            return _tagged((("number", number), ("mapping", Range[number]), ("Choices", Choices[number])), _spelling)

    class Choosable:
        """`Choosable[X]`: an X or choices of X."""

        def __class_getitem__(cls, value: Any) -> Any:
            return _tagged((("number", value), ("Choices", Choices[value])), _one_or_choices)


def decided(value: Searchable[Number]) -> Number:
    """A value that is decided. Raises ValueError where it is yet to be searched."""
    if isinstance(value, Range | Choices):
        raise ValueError(f"expected a value that is decided, got {value!r}")
    return value


def largest(value: Searchable[float]) -> float:
    """The largest value that a number may have."""
    if isinstance(value, Range):
        return value.high
    return max(value.choices) if isinstance(value, Choices) else value


def smallest(value: Searchable[float]) -> float:
    """The smallest value that a number may have."""
    if isinstance(value, Range):
        return value.low
    return min(value.choices) if isinstance(value, Choices) else value


def freedoms(section: Section, above: str = "") -> Iterator[tuple[str, Range[Any] | Choices[Any]]]:
    """What is searched in a section and those within it, by dotted key, in the order of the keys."""
    for key in type(section).model_fields:
        match getattr(section, key):
            case Range() | Choices() as freedom:
                yield above + key, freedom
            case Section() as inner:
                yield from freedoms(inner, f"{above}{key}.")


def choices_of(value: Choosable[Number]) -> tuple[Number, ...]:
    """All that a key may be: one value or several."""
    return value.choices if isinstance(value, Choices) else (value,)
