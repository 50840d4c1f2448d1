"""Files of a run folder that are exchanged for their successors together, or not at all.

Successors are written beside what they replace. Once a marker names all of them the exchange is decided: whoever holds
the folder next completes it, so that a death at any moment leaves every file old, or every file new.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.files import write_atomically

MARKER = "exchange.json"


def exchange(folder: Path, successors: Mapping[str, str], *, removed: Sequence[str] = ()) -> None:
    """Put each successor in the place of a file, then remove what is no longer true; all names are within `folder`."""
    write_atomically(folder / MARKER, json.dumps({"successors": dict(successors), "removed": list(removed)}))
    complete_exchange(folder)


def is_half_done(folder: Path) -> bool:
    """Whether an exchange was decided and is not complete."""
    return (folder / MARKER).exists()


def complete_exchange(folder: Path) -> bool:
    """Do what is left of an exchange that was decided; returns whether there was one.

    Only the holder of the folder may call this.
    """
    try:
        told = json.loads((folder / MARKER).read_bytes())
    except FileNotFoundError:
        return False
    for name, successor in told["successors"].items():
        if (folder / successor).exists():
            (folder / successor).replace(folder / name)
    for name in told["removed"]:
        (folder / name).unlink(missing_ok=True)
    (folder / MARKER).unlink()
    return True
