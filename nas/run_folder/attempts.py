"""What earlier attempts at an evaluation took: noted beside its checkpoint, and gone with it when it is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nas.files import remove_unfinished, write_atomically

NOTE = "attempts.json"


@dataclass(frozen=True)
class Spent:
    """Seconds per part of all attempts so far, and when the first one began (UTC; "" for not yet)."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    started_at: str = ""


def note_spent(folder: Path, spent: Spent) -> None:
    """Keep it for the case that this attempt does not come to its end."""
    write_atomically(folder / NOTE, json.dumps({"seconds": dict(spent.seconds), "started_at": spent.started_at}))


def spent_before(folder: Path) -> Spent:
    """What earlier attempts have noted; nothing where there was none, or where the note is damaged."""
    try:
        noted = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        seconds = {str(part): float(value) for part, value in noted["seconds"].items()}
        return Spent(seconds, str(noted["started_at"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Spent()


def forget_spent(folder: Path) -> None:
    """The evaluation is done: its record holds the seconds, and what a killed attempt was writing is of no use."""
    remove_unfinished(folder)
    (folder / NOTE).unlink(missing_ok=True)
