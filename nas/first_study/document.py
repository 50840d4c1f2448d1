"""The choices as a study file: YAML in which every reason stands above its key."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from nas.first_study.choices import SECTIONS, Choice
from nas.study.located_yaml import dump_yaml

WIDTH = 110
MACHINE = "(machine)"


def document(choices: Sequence[Choice], heading: str) -> str:
    """The text of a study file. A section stands where its first key does; `heading` comes first, as a comment."""
    order = list(dict.fromkeys(_section(choice) for choice in choices))
    blocks = [_comment(heading, "")]
    for section in order:
        own = [choice for choice in choices if _section(choice) == section]
        blocks.append(_block(section, own) if section in SECTIONS else _lines(own, ""))
    return "\n\n".join(blocks) + "\n"


def _section(choice: Choice) -> str:
    return choice.key.partition(".")[0]


def _block(section: str, choices: Sequence[Choice]) -> str:
    """A section with its keys; of suggestions alone, it is a comment as a whole."""
    if all(choice.is_suggestion for choice in choices):
        inner = [_comment(choice.why, "") for choice in choices if choice.why]
        keys = ", ".join(f"{_key(choice)}: {flow(choice.value)}" for choice in choices)
        return "\n".join([*inner, f"# {section}: {{{keys}}}{_mark(any(choice.is_timed for choice in choices))}"])
    return f"{section}:\n{_lines(choices, '  ')}"


def _lines(choices: Iterable[Choice], indent: str) -> str:
    """One line per key, above it its reason."""
    lines = list[str]()
    for choice in choices:
        lines += [_comment(choice.why, indent)] if choice.why else []
        mark = "# " if choice.is_suggestion else ""
        lines.append(f"{indent}{mark}{_key(choice)}: {flow(choice.value)}{_mark(choice.is_timed)}")
    return "\n".join(lines)


def _mark(is_timed: bool) -> str:
    return f"  # {MACHINE}" if is_timed else ""


def _key(choice: Choice) -> str:
    return choice.key.partition(".")[2] or choice.key


def _comment(text: str, indent: str) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return textwrap.fill(
        shown, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key)}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return _text(value) if isinstance(value, str) else dump_yaml(value).removesuffix("\n...\n").strip()


def _text(value: str) -> str:
    """Text as it is where it is a plain word for YAML in any place, else in double quotes."""
    is_plain = value.isascii() and value[:1] not in ("", "-") and all(c.isalnum() or c in "_-./" for c in value)
    if is_plain and dump_yaml(value).removesuffix("\n...\n") == value:
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"
