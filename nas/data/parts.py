"""The parts of a split, by the names they have in folders, arrays and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nas.data.records import Array
from nas.errors import InputError

SPLITS = ("train", "val", "test")
SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
LIKE_SPLITS = {spelling for spellings in SPELLINGS.values() for spelling in spellings}


def part_named(name: str) -> str | None:
    """train, val or test, by any usual spelling; None for another word."""
    return next((part for part, spellings in SPELLINGS.items() if name.casefold() in spellings), None)


def check_parts(given: Mapping[str, Array], labels: Array, class_names: Sequence[str], where: str) -> None:
    """Raise InputError where there are no training images, or a part that is given has none of a class."""
    if "train" not in given:
        raise InputError(f"data.path: {where}: expected images of train, got only those of {' and '.join(given)}")
    for part, indices in given.items():
        counts = np.bincount(labels[indices], minlength=len(class_names))
        if not counts.all():
            missing = class_names[int(np.argmin(counts))]
            raise InputError(f"data.path: {where}: expected images of every class in {part}, got none of {missing!r}")
