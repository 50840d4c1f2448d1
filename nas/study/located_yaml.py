"""YAML text as plain data that remembers the line of every key; scalars follow the YAML 1.2 core schema.

Anchors, aliases, tags and merge keys are refused: the file means what it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]
TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the line it stands on, the key it is about, what is wrong."""

    line: int
    key: KeyPath
    text: str


class ProblemError(Exception):
    """The text cannot be parsed as YAML."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(line, (), text)


@dataclass(slots=True)
class Document:
    """Plain data, the line of every key path in it, and the mistakes found while reading."""

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, key: KeyPath) -> int:
        """Line of the key's value; of the nearest parent where the key is missing."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)


def read_yaml(text: str) -> Document:
    """Read one YAML document; empty text gives None. Raises ProblemError where the syntax is broken."""
    document = Document()
    try:
        node = _compose(text)
        if node is not None:
            document.data = _build(node, (), document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ProblemError(mark.line + 1 if mark else 1, _syntax(error)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ProblemError(line, f"character {error.character!r} is not allowed in YAML") from None
    except RecursionError:
        raise ProblemError(1, "nested too deeply") from None
    return document


def dump_yaml(data: Any) -> str:
    """Readable YAML in the given key order; a list of scalars stands on one line."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Loader(yaml.SafeLoader):
    """Composes nodes and resolves scalars by the YAML 1.2 core schema."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(None, None, "anchors and aliases are not supported", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(None, None, "tags are not supported", event.start_mark)
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would otherwise read as something else."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_list(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    flat = not any(isinstance(item, list | dict) for item in data)
    return dumper.represent_sequence(TAG + "seq", data, flow_style=flat)


def _represent_text(dumper: yaml.SafeDumper, data: str) -> yaml.Node:
    # Only double quotes escape; elsewhere U+0085 and its like would be read back as a line break.
    return dumper.represent_scalar(TAG + "str", data, style=None if data.isprintable() else '"')


_CORE_SCHEMA = {
    "null": r"^(?:null|Null|NULL|~|)$",
    "bool": r"^(?:true|True|TRUE|false|False|FALSE)$",
    "int": r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$",
    "float": r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
}

_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(str, _represent_text)
for _kind, _pattern in _CORE_SCHEMA.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(TAG + _kind, re.compile(_pattern), None)


def _compose(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _build(node: yaml.Node, key: KeyPath, document: Document) -> Any:
    document.lines[key] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, key, document)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*key, i), document) for i, item in enumerate(node.value)]
    return _scalar(node)


def _mapping(node: yaml.MappingNode, key: KeyPath, document: Document) -> dict[str, Any]:
    """Values by name; a key that occurs twice is a mistake that names both lines."""
    data: dict[str, Any] = {}
    first_lines: dict[str, int] = {}
    for name_node, value_node in node.value:
        name, line = name_node.value, name_node.start_mark.line + 1
        if not isinstance(name, str):
            document.problems.append(Problem(line, key, "expected a name as key, got a list or mapping"))
        elif name == "<<":
            document.problems.append(Problem(line, key, "merge keys (<<) are not supported"))
        elif name in data:
            text = f"key stands twice, first on line {first_lines[name]}"
            document.problems.append(Problem(line, (*key, name), text))
        else:
            first_lines[name] = line
            data[name] = _build(value_node, (*key, name), document)
    return data


def _scalar(node: yaml.Node) -> Any:
    try:
        return _SCALARS[node.tag](node.value)
    except ValueError:  # an integer of more digits than Python converts stays text
        return node.value


def _integer(text: str) -> int:
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _number(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    TAG + "null": lambda _: None,
    TAG + "bool": lambda text: text.lower() == "true",
    TAG + "int": _integer,
    TAG + "float": _number,
    TAG + "str": str,
}


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "broken YAML"
    if "'\\t'" in problem:
        return "a tab where YAML wants spaces"
    return f"{problem} ({error.context})" if error.context else problem
