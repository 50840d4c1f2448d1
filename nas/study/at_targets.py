"""Costs that every target has one of, as a study names them: `latency_ms@pi5`, `size_bytes@pi5`.

Those of the first target have no name behind them, and a target of its runtime opens the same file: what says the same
at greater length is written in the short way before anything else looks at it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nas.study.section import NAME_PATTERN, Section
from nas.study.targets import DEFAULT_RUNTIME, Target

AT_TARGETS = ("latency_ms", "size_bytes")
AT_TARGET = rf"^({'|'.join(AT_TARGETS)})@{NAME_PATTERN.removeprefix('^')}"
WAYS = ", ".join(f"{cost}@TARGET" for cost in AT_TARGETS)


def is_at_target(name: str) -> bool:
    """Whether it is of the form COST@TARGET, for a cost that each target has one of."""
    return re.search(AT_TARGET, name) is not None


def short_names(targets: Sequence[Any]) -> dict[str, str]:
    """Costs at targets by the names without one that say the same; `targets` may be as a study file has them."""
    first, *others = map(_written, targets)
    same = (target for target in others if target["runtime"] == first["runtime"])
    return {
        **{f"{cost}@{first['name']}": cost for cost in AT_TARGETS},
        **{f"size_bytes@{target['name']}": "size_bytes" for target in same},
    }


def _written(target: Any) -> Mapping[str, Any]:
    given = vars(target) if isinstance(target, Target) else target if isinstance(target, Mapping) else {}
    return {"name": None, "runtime": DEFAULT_RUNTIME, **given}


def in_short(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """What a study says with `names` for what they replace. Raises ValueError where both are given."""
    objectives, report = given.get("objectives"), given.get("report")
    found = {key: _renamed(given[key], names, key) for key in ("constraints",) if key in given}
    if isinstance(objectives, list | tuple):
        found["objectives"] = tuple(_short(name, names) for name in objectives)
    if isinstance(report, Section | Mapping):
        found["report"] = {
            key: _renamed(value, names, f"report.{key}") if key == "hypervolume_reference" else value
            for key, value in dict(report).items()
        }
    return {**given, **found}


def _renamed(given: Any, names: Mapping[str, str], key: str) -> Any:
    if not isinstance(given, Section | Mapping):
        return given
    plain = dict(given)
    for name, short in names.items():
        if plain.get(name) is not None and plain.get(short) is not None:
            raise ValueError(f"{key}: expected one of {short} and {name}, which are the same, got both")
    return {_short(name, names): value for name, value in plain.items() if value is not None or name not in names}


def _short(name: Any, names: Mapping[str, str]) -> Any:
    return names.get(name, name) if isinstance(name, str) else name


def unknown_target(name: str, targets: Sequence[Target]) -> str:
    """What is wrong with a cost at a target that there is not, in words; empty for any other."""
    _, at, target = name.partition("@")
    known = [one.name for one in targets]
    if not at or target in known:
        return ""
    near = difflib.get_close_matches(target, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"expected a target behind @, one of {', '.join(known)}, got {name!r}{hint}"
