"""Validation errors in plain words: which key, what was expected, what came."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from nas.study import Study
from nas.study.at_targets import AT_TARGET, WAYS
from nas.study.located_yaml import KeyPath
from search_spaces.own_code import NAMED

Schema = Mapping[str, Any]

SCHEMA: Schema = Study.model_json_schema()
PATTERNS: Mapping[str, str] = {AT_TARGET: WAYS, NAMED: "package.module:Class"}  # what is written so, in words
FEW = 3  # keys of a section that are listed where something else came
KEY = r"[a-z_]+(?:@[A-Za-z0-9_-]+)?"  # a part of a dotted key, as messages begin with
TAG = "family"  # the key by which the records of a union differ


def explain(error: ErrorDetails) -> tuple[KeyPath, str]:
    """The key a pydantic error is about, as a user would write it, and its text."""
    loc = error["loc"]
    if error["type"] == "extra_forbidden":
        parent, schema = _walk(loc[:-1])
        return (*parent, loc[-1]), _unknown(str(loc[-1]), _keys(schema))
    key, schema = _walk(loc)
    if error["type"] == "union_tag_invalid" and isinstance(error["input"], dict):
        tags = ", ".join(str(_tag(member)) for member in _members(schema))
        return (*key, TAG), f"expected one of {tags}, got {show(error['input'].get(TAG))}"
    if loc and loc[-1] == "[key]":
        return key, _unknown(str(key[-1]), _names(schema_at(key[:-1])["propertyNames"]))
    if error["type"] == "value_error":
        return _narrowed(key, schema, str(error["ctx"]["error"]))
    came = "nothing" if error["type"] == "missing" else show(error["input"])
    return key, f"expected {describe(schema)}, got {came}"


def dotted(key: KeyPath) -> str:
    """`("targets", 0, "name")` as `targets[0].name`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".")


def show(value: Any, text: Callable[[str], str] = repr) -> str:
    """A value as it is written in a study file; `text` formats strings."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _cut(text(value))
    if isinstance(value, list | tuple):
        return _cut(f"[{', '.join(show(item, text) for item in value)}]")
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    return _cut(str(value))


def _cut(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def schema_at(key: KeyPath) -> Schema:
    """JSON schema of the value at `key`; of the nearest parent that has one."""
    return _walk(key)[1]


def is_integer_choice(schema: Schema) -> bool:
    """Whether the schema is a choice of integers: pydantic lets true and 1.0 pass for 1 there."""
    options = schema.get("anyOf", [schema])
    return any("enum" in option and option.get("type") == "integer" for option in options)


def describe(schema: Schema) -> str:
    """What the schema accepts, in words."""
    schema = resolved(schema)
    if "anyOf" in schema:
        return " or ".join(describe(option) for option in schema["anyOf"])
    if "oneOf" in schema:
        options = [resolved(option) for option in schema["oneOf"]]
        return "a mapping" if all(map(_tag, options)) else " or ".join(map(_spelled, options))
    if "enum" in schema:
        return f"one of {', '.join(str(option) for option in schema['enum'])}"
    if "const" in schema:
        return str(schema["const"])
    return _WORDS[schema["type"]](schema)


def _spelled(schema: Schema) -> str:
    """One of several ways to write a value; a mapping by its keys."""
    return f"{{{', '.join(schema['properties'])}}}" if "properties" in schema else describe(schema)


def _list(schema: Schema) -> str:
    if "prefixItems" in schema:
        return f"a list of {len(schema['prefixItems'])}, each {describe(schema['prefixItems'][0])}"
    return f"a list of at least {schema.get('minItems', 0)}, each {describe(schema['items'])}"


def _number(noun: str, schema: Schema) -> str:
    words = {
        "minimum": "of at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    bounds = [f"{word} {schema[bound]}" for bound, word in words.items() if bound in schema]
    return f"{noun} {' and '.join(bounds)}".strip()


def _mapping(schema: Schema) -> str:
    own = list(schema.get("properties", ()))
    least = f" of at least {schema['minProperties']}" if "minProperties" in schema else ""
    names = _names(schema.get("propertyNames", {})) or (own if len(own) <= FEW else [])
    return f"a mapping{least}" + (f" with keys among {', '.join(names)}" if names else "")


def _names(schema: Schema) -> list[str]:
    """The names that keys of a mapping may have."""
    ways = [name for option in schema.get("anyOf", ()) for name in _names(option)]
    written = PATTERNS.get(schema.get("pattern", ""))
    return [*schema.get("enum", ()), *ways, *([] if written is None else [written])]


def _text(schema: Schema) -> str:
    if (known := PATTERNS.get(schema.get("pattern", ""))) is not None:
        return known
    pattern = f" matching {schema['pattern']}" if "pattern" in schema else ""
    return f"text of at most {schema['maxLength']} characters{pattern}" if "maxLength" in schema else "text"


_WORDS: Mapping[str, Callable[[Schema], str]] = {
    "array": _list,
    "boolean": lambda _: "true or false",
    "integer": lambda schema: _number("an integer", schema),
    "null": lambda _: "null",
    "number": lambda schema: _number("a number", schema),
    "object": _mapping,
    "string": _text,
}


def _keys(schema: Schema) -> list[str]:
    """The keys that a mapping may have, in every way to write it."""
    options = [option for kind in ("anyOf", "oneOf") for option in schema.get(kind, ())]
    ways = [WAYS] if AT_TARGET in schema.get("patternProperties", ()) else []
    return [*schema.get("properties", ()), *ways, *(key for option in options for key in _keys(resolved(option)))]


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown key, expected one of {', '.join(known)}{hint}"


def _narrowed(key: KeyPath, schema: Schema, text: str) -> tuple[KeyPath, str]:
    """The message of a section's own check may begin with a key inside it: `stages[0].widths: expected ...`."""
    found = re.match(rf"({KEY}(?:\[\d+\])?(?:\.{KEY})*): (.*)", text, re.DOTALL)
    if found is None:
        return key, text
    parts = [int(part) if part.isdigit() else part for part in re.findall(rf"{KEY}|\d+", found[1])]
    return ((*key, *parts), found[2]) if _child(schema, parts[0]) is not None else (key, text)


def _walk(loc: KeyPath) -> tuple[KeyPath, Schema]:
    """Follow `loc` through the schema; elements that name no key are a union's tags."""
    key: KeyPath = ()
    schema = SCHEMA
    for part in loc:
        child = _child(schema, part)
        if child is not None:
            key, schema = (*key, part), child
        else:
            schema = next((member for member in _members(schema) if _is_tagged(member, part)), schema)
    return key, schema


def _members(schema: Schema) -> list[Schema]:
    """The records of a tagged union, optional or not."""
    unions = [schema, *(resolved(option) for option in schema.get("anyOf", ()))]
    return [resolved(option) for union in unions for option in union.get("oneOf", ())]


def _is_tagged(record: Schema, tag: str | int) -> bool:
    """By the value of its tag or, for ways to write a number, by the beginning of its name."""
    return _tag(record) == tag or record.get("title", "").startswith(str(tag))


def _tag(record: Schema) -> str | None:
    tag: str | None = record.get("properties", {}).get(TAG, {}).get("const")
    return tag


def _child(schema: Schema, part: str | int) -> Schema | None:
    if isinstance(part, int):
        items = schema.get("prefixItems", ())
        child = items[part] if part < len(items) else schema.get("items")
    else:
        own = schema.get("properties", {}).get(part) or _by_pattern(schema, part)
        child = own or schema.get("additionalProperties")
    if child:
        return resolved(child)
    options = (_child(resolved(option), part) for kind in ("anyOf", "oneOf") for option in schema.get(kind, ()))
    return next((found for found in options if found is not None), None)


def _by_pattern(schema: Schema, part: str) -> Schema | None:
    found = (own for pattern, own in schema.get("patternProperties", {}).items() if re.search(pattern, part))
    return next(found, None)


def resolved(schema: Schema) -> Schema:
    """The schema that a reference points to, with the default that stands beside it."""
    if "$ref" not in schema:
        return schema
    return {**SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], **schema, "$ref": ""} if schema["$ref"] else schema
