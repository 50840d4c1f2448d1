"""How steps that change a network's layers change the parts of it: a row for each. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from nas.candidates.removing import ACTIVATIONS, BLOCKS, without_activations, without_block
from search_spaces.architecture import Part

Shaping = Callable[[Part, Mapping[str, Any]], Part | None]

# Step -> of a part, with its widths after pruning, and the step's decisions: what is left of it, None for nothing.
SHAPINGS: dict[str, Shaping] = {BLOCKS: without_block, ACTIVATIONS: without_activations}


def shaped(parts: Iterable[Part], steps: Mapping[str, Mapping[str, Any]]) -> Iterator[Part]:
    """The parts after all steps, in the order of the table."""
    asked = [(SHAPINGS[name], steps[name]) for name in SHAPINGS if steps.get(name)]
    for part in parts:
        left: Part | None = part
        for shaping, decisions in asked:
            left = left and shaping(left, decisions)
        if left is not None:
            yield left
