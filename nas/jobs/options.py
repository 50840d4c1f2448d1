"""Options of a job: `--set OPTION=VALUE`, read into the record of a way to hand jobs over."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from nas.errors import InputError
from nas.study.words import describe, show

T = TypeVar("T", bound="Options")

AtLeastOne = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=1000)]


def _parts(given: Any) -> Any:
    return tuple(part.strip() for part in given.split(",")) if isinstance(given, str) else given


def _pairs(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    pairs = [part.strip().partition("=") for part in given.split(",")]
    if not all(name and equals for name, equals, _ in pairs):
        raise ValueError(f"expected NAME=VALUE,NAME=VALUE, got {given!r}")
    return {name: value for name, _, value in pairs}


Lines = Annotated[tuple[Line, ...], BeforeValidator(_parts)]
Pairs = Annotated[dict[str, str], BeforeValidator(_pairs)]


class Options(BaseModel):
    """Base of every record of options: frozen; an unknown one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_options(record: type[T], given: Sequence[str]) -> T:
    """The options that `given` says, each OPTION=VALUE. Raises InputError, a line per mistake."""
    values: dict[str, str] = {}
    problems = []
    for entry in given:
        name, equals, value = entry.partition("=")
        if not equals or not name.strip():
            problems.append(f"--set: expected OPTION=VALUE, got {entry!r}")
        elif name.strip() in values:
            problems.append(f"--set {name.strip()}: expected once, got {values[name.strip()]!r} and {value!r}")
        values[name.strip()] = value
    if problems:
        raise InputError("\n".join(problems))
    try:
        return record.model_validate_strings(values)
    except ValidationError as error:
        raise InputError("\n".join(dict.fromkeys(_explained(record, each) for each in error.errors()))) from None


def _explained(record: type[Options], error: ErrorDetails) -> str:
    name = str(error["loc"][0]) if error["loc"] else ""
    known = list(record.model_fields)
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"--set {name}: unknown option, expected one of {', '.join(known)}{hint}"
    if error["type"] == "value_error":
        return f"--set {name}: {error['ctx']['error']}"
    return f"--set {name}: expected {_accepted(record, name)}, got {show(error['input'])}"


def _accepted(record: type[Options], name: str) -> str:
    """What an option takes, in words: `null` is what it is when it is left out."""
    schema = record.model_json_schema()["properties"][name]
    schema = {key: value for key, value in schema.items() if key != "title"}
    given = [way for way in schema.get("anyOf", [schema]) if way.get("type") != "null"]
    if any("pattern" in way for way in given):
        given = [{k: v for k, v in way.items() if k != "pattern"} for way in given]
        return f"{' or '.join(map(describe, given))} ({record.model_fields[name].description})"
    return " or ".join(map(describe, given))


def option_rows(record: type[Options]) -> Iterator[tuple[str, str, str]]:
    """Name, default and meaning of each option."""
    for name, field in record.model_fields.items():
        yield name, "" if field.default in (None, (), {}) else show(field.default, str), str(field.description)
