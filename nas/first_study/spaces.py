"""What is searched: the preset that suits the pictures, or a network that exists already, on images of their size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nas.first_study.choices import Choice
from nas.first_study.pictures import Looks, size_choice
from search_spaces.existing.space import TORCHVISION


@dataclass(frozen=True)
class Base:
    """A network that exists already, by its name; `trusted`: its code may be run."""

    name: str
    trusted: bool = False


def space_choices(size: int, looks: Looks, reason: str, *, base: Base | None, is_timed: bool) -> list[Choice]:
    """The section `space` for an input size; `reason` says why it is not larger, if it could be."""
    preset = size_choice(size, looks, reason, is_timed=is_timed)
    return [preset] if base is None else list(_existing(base, size, looks, reason, is_timed=is_timed))


def _existing(base: Base, size: int, looks: Looks, reason: str, *, is_timed: bool) -> Iterator[Choice]:
    yield Choice(
        "space.base", base.name, "The network whose layers are pruned and quantized; the search says how much."
    )
    if base.trusted:
        yield Choice("space.trusted", True, "Its code is run, by everybody who runs this study.")
    side = f"A typical picture has a side of {looks.side:.0f} pixels{reason}."
    yield Choice("space.input_size", size, side, is_timed=is_timed)
    if base.name.startswith(TORCHVISION):
        why = "Begins with the weights that torchvision has for it and downloads; epochs then count fine-tuning."
    else:
        why = "Begins with the weights that the network comes with, or with those of a file; epochs count fine-tuning."
    weights = "DEFAULT" if base.name.startswith(TORCHVISION) else "own"
    yield Choice("space.weights", weights, why, is_suggestion=True)
