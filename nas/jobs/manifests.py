"""YAML for Kubernetes: what any parser, of YAML 1.1 or 1.2, reads as the same text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

# Words that need no quotes anywhere: neither numbers nor dates, nor what YAML 1.1 takes for true, false or nothing.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_TAKEN = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def dump_manifests(manifests: Sequence[Mapping[str, Any]]) -> str:
    """Several objects as one text, in the given order of keys."""
    return yaml.dump_all(
        manifests, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000, explicit_start=True
    )


class _Dumper(yaml.SafeDumper):
    """Quotes every text that is not a plain word; text of several lines stands as it is."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)  # lists stand indented below their key


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    is_plain = _PLAIN.fullmatch(value) and value.lower() not in _TAKEN
    style = None if is_plain else "|" if "\n" in value else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
