"""What steps of a plan make of a network's layers, part by part. No torch.

Channels that are pruned are no matter of these rows: an architecture knows its layers at any widths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from search_spaces.architecture import Part

Shaping = Callable[[Part, Mapping[str, Any]], Part | None]

# Step of STEPS -> a part and the step's decisions by name -> the part that results; None: none does. In the order in
# which steps are applied; those that leave shapes alone have no row.
SHAPINGS: dict[str, Shaping] = {}


def shaped(parts: Iterable[Part], steps: Mapping[str, Mapping[str, Any]]) -> tuple[Part, ...]:
    """The parts that result of a plan's further `steps`."""
    found = tuple(parts)
    for name, shaping in SHAPINGS.items():
        if decisions := steps.get(name):
            found = tuple(part for given in found if (part := shaping(given, decisions)) is not None)
    return found
