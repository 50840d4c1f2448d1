"""`nas schema --markdown`: every key of a study file in tables, made of the schema and so never older than it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nas.study.file import PRESET
from nas.study.source_keys import SOURCE_KEYS
from nas.study.words import SCHEMA, TAG, Schema, describe, resolved

COMMAND = "nas schema --markdown"
HEAD = f"""\
# Keys of a study file

Made by `{COMMAND} > studies/reference.md`, of the descriptions that editors show too (`nas schema`). A study
needs `name`, `data` and `space`; what is left out has its default. A number that may be searched is written as a
number, as `{{low: 0.01, high: 0.3, log: true}}` or as `{{choices: [0.1, 0.2]}}`; a word that may be is
written as a word or as `{{choices: [sgd, adamw]}}`. On the command line a key is dotted: `search.trials=48`,
`targets[0].threads=2`.
"""
RULE = "|---|---|---|---|"
WAYS = ("RangeOf", "ChoicesOf")  # sections that are ways to write a number: HEAD says them once


def reference() -> str:
    """The page: the keys on top, then a table for each section, in the order of the study."""
    on_top = {key: part for key, part in SCHEMA["properties"].items() if not list(_sections(key, part))}
    parts = [HEAD, _table(on_top, SCHEMA["required"])]
    for key, part in SCHEMA["properties"].items():
        parts += _chapters(key, part, level=2)
        if key == "data":
            parts.append(_sources())
    return "\n".join(parts)


def _chapters(key: str, part: Schema, *, level: int) -> Iterator[str]:
    """Heading, meaning and table of every section that a key holds, each followed by those inside it."""
    found = list(_sections(key, part))
    sections = [one for number, one in enumerate(found) if one not in found[:number]]  # one value, or a list of such
    if sections:
        yield f"{'#' * level} {key}\n\n{_meaning(part, sections[0][1])}\n"
    shared = _shared([section for _, section in sections])
    sharing = [(name, section) for name, section in sections if _has(section, shared)]
    for name, section in sections:
        own = section["properties"]
        if (name, section) in sharing:
            own = {k: v for k, v in own.items() if k not in shared}
        if len(sections) > 1:
            yield f"{'#' * (level + 1)} {name}\n\n{section['description']}\n"
        if own:
            yield _table(own, section.get("required", ()))
        yield from _inner_chapters(key, own)
    if shared and len(sections) > 1:
        whose = f"every {TAG}" if sharing == sections else ", ".join(name.partition(": ")[2] for name, _ in sharing)
        yield f"{'#' * (level + 1)} {key}, of {whose}\n"
        yield _table(shared, sharing[0][1].get("required", ()))
        yield from _inner_chapters(key, shared)


def _inner_chapters(key: str, parts: Mapping[str, Schema]) -> Iterator[str]:
    """The sections of a table's keys; one of a single key is spelled out in the table."""
    for inner, part in parts.items():
        if _spelled(inner, part) is None:
            yield from _chapters(f"{key}.{inner}", part, level=3)


def _spelled(key: str, part: Schema) -> str | None:
    """A value that is a mapping with a single key, in words."""
    sections = [section for _, section in _sections(key, part)]
    if len(sections) != 1 or len(sections[0]["properties"]) != 1:
        return None
    ((name, value),) = sections[0]["properties"].items()
    return f"{{{name}: {describe(value)}}}"


def _shared(sections: Sequence[Schema]) -> dict[str, Any]:
    """Keys that most of several sections have in common; none of a single one, whose keys are its own."""
    if len(sections) < 2:
        return {}
    found: dict[str, Any] = {}
    for first in sections:
        for key, part in first["properties"].items():
            alike = sum(section["properties"].get(key) == part for section in sections)
            if alike > len(sections) / 2:
                found.setdefault(key, part)
    return found


def _has(section: Schema, shared: Mapping[str, Any]) -> bool:
    """Whether a section has all the keys that most have, and may leave them to their common table."""
    return all(section["properties"].get(key) == part for key, part in shared.items())


def _sections(key: str, part: Schema) -> Iterator[tuple[str, Schema]]:
    """The sections that a value consists of, or is a list or mapping of, each with a name for its heading."""
    here = resolved(part)
    if "properties" in here:
        if not here["title"].startswith(WAYS):
            tag = here["properties"].get(TAG, {}).get("const")
            yield (f"{key}: {{{TAG}: {tag}}}" if tag else key), here
        return
    within = [*here.get("oneOf", ()), *here.get("anyOf", ()), here.get("items"), here.get("additionalProperties")]
    for option in within:
        if isinstance(option, Mapping):
            yield from _sections(key, option)


def _meaning(part: Schema, section: Schema) -> str:
    """What a key says of itself, else what its section says."""
    return _one_line(part.get("description") or section["description"])


def _table(parts: Mapping[str, Schema], required: Sequence[str]) -> str:
    needed = "of the preset" if PRESET in parts else "required"
    rows = [_row(key, part, needed if key in required else None) for key, part in parts.items()]
    return "\n".join(["| key | value | default | meaning |", RULE, *rows, ""])


def _row(key: str, part: Schema, needed: str | None) -> str:
    """`needed`: what stands for the default of a key that must be given."""
    meaning = part.get("description") or resolved(part).get("description", "")
    values = _spelled(key, part) or re.sub(r" or null\b", "", describe(part))  # null is the same as nothing
    cells = (f"`{key}`", values, needed or _default(part.get("default")), meaning)
    return f"| {' | '.join(map(_cell, cells))} |"


def _default(value: Any) -> str:
    """A default as it is written in a study; where it holds nothing, there is no more to say than the meaning does."""
    if value is None or (isinstance(value, dict) and not any(value.values())):
        return "–"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _sources() -> str:
    """What every source expects of `path` and of other keys."""
    rows = ["| `source` | what it expects at `path` | needs | own keys |", RULE]
    for name, keys in SOURCE_KEYS.items():
        needs = "; ".join(f"`{key}`, {what}" for key, what in keys.needs.items())
        own = ", ".join(f"`{key}`" for key in keys.own if key not in keys.needs)
        path = f"{keys.path}: {keys.expects}" if keys.path else keys.expects
        rows.append(f"| `{name}` | {_cell(path)} | {needs or '–'} | {own or '–'} |")
    return "\n".join([*rows, ""])


def _cell(text: str) -> str:
    return _one_line(text).replace("|", r"\|").replace("<", "&lt;")


def _one_line(text: str) -> str:
    return " ".join(text.split())
