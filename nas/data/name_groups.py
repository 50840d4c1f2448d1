"""Groups that are read off file names: frames of one film, scans of one patient."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from nas.data.records import NO_GROUP, Array
from nas.errors import InputError

Scope = Literal["class", "all"]


@dataclass(frozen=True)
class NamedImage:
    """inside: its path below the class folder, by which the pattern is matched; needs_group: not in a given part."""

    inside: str
    class_name: str
    place: str
    needs_group: bool


def name_groups(images: Sequence[NamedImage], pattern: str, *, scope: Scope) -> tuple[Array, str]:
    """A group number per image, and in words what was matched.

    With scope class, equal matches in two classes are two groups. An image without a match is of no group where it
    comes in a part of its own; elsewhere it raises InputError, as nobody can tell which others it belongs to.
    """
    regex = re.compile(pattern)
    keys = [_key(regex, image.inside) for image in images]
    missing = [image for image, key in zip(images, keys, strict=True) if key is None and image.needs_group]
    if missing:
        more = f", nor do {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(
            f"data.group_pattern: expected '{pattern}' to match every training file's path below its class folder, "
            f"but {missing[0].inside!r} does not match{more} ({missing[0].place})"
        )
    tied = [
        None if key is None else (image.class_name if scope == "class" else "", key)
        for image, key in zip(images, keys, strict=True)
    ]
    numbers = {key: number for number, key in enumerate(sorted({key for key in tied if key is not None}))}
    codes = np.array([NO_GROUP if key is None else numbers[key] for key in tied], np.int64)
    return codes, _in_words(images, keys, codes, pattern, scope)


def _key(regex: re.Pattern[str], inside: str) -> str | None:
    found = regex.search(inside)
    return None if found is None else found[1] if regex.groups else found[0]


def _in_words(
    images: Sequence[NamedImage], keys: Sequence[str | None], codes: Array, pattern: str, scope: Scope
) -> str:
    sizes = Counter(codes[codes != NO_GROUP].tolist())
    if not sizes:
        return f"group_pattern '{pattern}' matches no file"
    at = next(index for index, key in enumerate(keys) if key is not None)
    example = f"{images[at].inside!r} of class {images[at].class_name!r} is of group {keys[at]!r}"
    where = "of its class" if scope == "class" else "of all classes"
    alone = int((codes == NO_GROUP).sum())
    low, high = min(sizes.values()), max(sizes.values())
    images_each = f"{low} images" if low == high else f"{low} to {high} images, median {median(sizes.values()):g}"
    without = f"; {alone:,} files of given parts match nothing and are of no group" if alone else ""
    return (
        f"group_pattern '{pattern}', searched in paths below the class folder: {example}, with the others {where}; "
        f"{len(sizes):,} groups of {images_each}{without}"
    )
