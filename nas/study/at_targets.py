"""Costs that every target has one of, as a study names them: `latency_ms@pi5`, `size_bytes@pi5`.

Those of the first target have no name behind them, and a target of its runtime opens the same file: what says the same
at greater length is written in the short way before anything else looks at it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from nas.study.section import NAME_PATTERN
from nas.study.targets import Target

T = TypeVar("T")
AT_TARGETS = ("latency_ms", "size_bytes")
AT_TARGET = rf"^({'|'.join(AT_TARGETS)})@{NAME_PATTERN.removeprefix('^')}"
WAYS = ", ".join(f"{cost}@TARGET" for cost in AT_TARGETS)


def is_at_target(name: str) -> bool:
    """Whether it is of the form COST@TARGET, for a cost that each target has one of."""
    return re.search(AT_TARGET, name) is not None


def short_names(targets: Sequence[Target]) -> dict[str, str]:
    """Costs at targets by the names without one that say the same."""
    first, *others = targets
    same = (target.name for target in others if target.runtime == first.runtime)
    return {
        **{f"{cost}@{first.name}": cost for cost in AT_TARGETS},
        **{f"size_bytes@{name}": "size_bytes" for name in same},
    }


def renamed(given: Mapping[str, T], names: Mapping[str, str], key: str) -> dict[str, T]:
    """What is given by cost, with `names` for what they replace; `key` is where. Raises ValueError where both are."""
    for name, short in names.items():
        if given.get(name) is not None and given.get(short) is not None:
            raise ValueError(f"{key}: expected one of {short} and {name}, which are the same, got both")
    kept = {name: value for name, value in given.items() if value is not None or name not in names.values()}
    return {names.get(name, name): value for name, value in kept.items()}


def unknown_target(name: str, targets: Sequence[Target]) -> str:
    """What is wrong with a cost at a target that there is not, in words; empty for any other."""
    _, at, target = name.partition("@")
    known = [one.name for one in targets]
    if not at or target in known:
        return ""
    near = difflib.get_close_matches(target, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"expected a target behind @, one of {', '.join(known)}, got {name!r}{hint}"
