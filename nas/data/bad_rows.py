"""The one message on rows of a table that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.errors import InputError

SHOWN = 10


def refuse_rows(path: Path, problems: Sequence[str]) -> None:
    """Raise InputError where there are problems, each a sentence that begins with its row."""
    if problems:
        shown = "\n  ".join(problems[:SHOWN])
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise InputError(f"data.path: {path}: {len(problems)} bad row(s):\n  {shown}{more}")
