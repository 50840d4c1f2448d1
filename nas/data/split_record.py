"""What split.json says of an earlier split, beside the one that is found now."""

from __future__ import annotations

import json
from typing import Any

SHOWN = 3


def moved(recorded: str, now: str) -> str:
    """Which files of validation and test are no longer where they were recorded; empty where files were not recorded.

    Both are texts of split.json.
    """
    before, after = _files(recorded), _files(now)
    lines = []
    for part in before:
        gone, new = (
            sorted(set(one) - set(two)) for one, two in ((before[part], after[part]), (after[part], before[part]))
        )
        words = [
            f"{len(names)} {what} ({_some(names)})" for names, what in ((gone, "no longer"), (new, "newly")) if names
        ]
        if words:
            lines.append(f"\n  in {part}: {', '.join(words)}")
    return "".join(lines)


def _files(text: str) -> dict[str, list[str]]:
    try:
        held: Any = json.loads(text)
    except ValueError:
        return {}
    return dict(held.get("files", {})) if isinstance(held, dict) else {}


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
