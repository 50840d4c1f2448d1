"""What the sections of a study file have in common: their base class and the types of their values.

Descriptions are `Field(description=...)` and not docstrings below the fields: pydantic would read those from the
sources at every start, which takes more than a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=80)]
AtLeastOne = Annotated[int, Field(ge=1)]
# The word behind a number's bounds names ranges and choices of it in the schema: RangeOfShares.
Share = Annotated[float, Field(ge=0, lt=1), "Shares"]
ShareToOne = Annotated[float, Field(ge=0, le=1), "SharesToOne"]
AboveZero = Annotated[float, Field(gt=0), "NumbersAboveZero"]
NotNegative = Annotated[float, Field(ge=0), "NumbersFromZero"]
Factor = Annotated[float, Field(gt=0, le=1), "Factors"]


class Section(BaseModel):
    """Base of every section: frozen and strict; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def each_once(what: str, values: Sequence[Any]) -> None:
    """Raise ValueError where a value occurs twice."""
    if len(set(values)) != len(values):
        raise ValueError(f"every {what} once, got {list(values)}")


def one_or_several(given: Any) -> Any:
    """A single choice as a list of one."""
    return tuple(given) if isinstance(given, tuple | list) else (given,)  # JSON has lists


def or_one(schema: dict[str, Any]) -> None:
    """Let the schema of a list take one of its elements alone, in place: what `one_or_several` does."""
    several = {key: schema.pop(key) for key in ("type", "items", "minItems") if key in schema}
    schema["oneOf"] = [several["items"], several]
