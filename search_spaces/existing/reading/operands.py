"""What operations are called with: tensors of the network, and what none of them, or only some, may read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.existing.blueprint import INPUT
from search_spaces.existing.reading.forms import NotOffered
from search_spaces.existing.reading.functions import TAKE_HALF_A_MEAN, TAKE_SCALED
from search_spaces.existing.reading.pending import Ended, Halfway, Scaled
from search_spaces.existing.reading.values import Value


@dataclass(frozen=True)
class Constant:
    """A tensor of the network that is no layer's weight."""

    path: str


IN_WORDS: Mapping[type, str] = {
    Scaled: "tensor times or plus a constant", Halfway: "mean along one axis of a map", Constant: "constant",
}  # fmt: skip


def refuse_pending(name: str, found: Iterable[Any]) -> None:
    """Raise NotOffered where a function reads what no blueprint has."""
    for each in found:
        if isinstance(each, Ended):
            raise NotOffered("reads probabilities, supported: softmax at the network's end alone")
        if isinstance(each, Scaled) and name.rstrip("_") not in TAKE_SCALED:
            of_pixels = "; space.pixels says how images are normalised" if each.value.node == INPUT else ""
            raise NotOffered(
                f"reads x * {each.scale:.4g} + {each.shift:.4g}, supported: constants in hard sigmoids alone{of_pixels}"
            )
        if isinstance(each, Halfway) and name not in TAKE_HALF_A_MEAN:
            raise NotOffered("reads a mean along one axis of a map, supported: over all pixels, [2, 3]")


def tensors_in(value: Any) -> Iterable[Any]:
    """Tensors of the network in what a function is called with."""
    if isinstance(value, Value | Constant | Ended | Halfway | Scaled):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from tensors_in(each)
