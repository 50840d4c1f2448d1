"""Groups that are suspected: pictures of one object, film or patient, which must not lie in two parts of the split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from nas.data import folder_of, listed
from nas.data.decoding import UNREADABLE
from nas.data.folder_layout import parts_of
from nas.data.image_files import printable
from nas.data.records import Array, Listing
from nas.errors import InputError
from nas.first_study.choices import Choice
from nas.first_study.namings import NAMINGS, Grouped, grouped
from nas.study import Data
from nas.study.source_keys import sources_with

ALIKE = 0.6  # distance within a group over that between groups of a class, at most, where pictures speak for it
PAIRS, LEAST_PAIRS = 60, 8
_SIDE = 16  # pixels of the grey copies that are compared
EXAMPLE = r"^(.+)_\d+"


def choose_groups(data: Data, listing: Listing, *, seed: int) -> list[Choice]:
    """`group_pattern` and `group_scope` where the evidence is good; else as comments. Nothing where the user named a
    pattern, or for sources without.
    """
    if data.source not in sources_with("group_pattern") or data.group_pattern is not None:
        return []
    train = listing.given["train"]
    classes = [listing.class_names[label] for label in listing.labels[train]]
    root = printable(parts_of(folder_of(data))["train"])
    paths = [_below_class(listing.name(int(i)), root) for i in train]
    doubtful = list[list[Choice]]()
    for found in filter(None, (grouped(naming, paths, classes) for naming in NAMINGS)):
        doubt = _doubt(found, data, listing, seed)
        if not doubt:
            return _chosen(found, paths, "")
        doubtful.append(_chosen(found, paths, doubt))
    if doubtful:
        return doubtful[0]
    why = (
        "File names show no groups. Where several pictures show one object, film or patient, name what they share: "
        "frames in training and in test at once make accuracies too good."
    )
    return [Choice("data.group_pattern", EXAMPLE, why, is_suggestion=True)]


def _below_class(path: str, root: str) -> str:
    """A file's path below its class folder, which lies in `root`."""
    return path.removeprefix(root).lstrip("/").partition("/")[2]


def _chosen(found: Grouped, paths: Sequence[str], doubt: str) -> list[Choice]:
    """Both keys, with what speaks for them; as suggestions where there is a doubt."""
    naming, sizes = found.naming, sorted(found.sizes.values())
    what = (
        f"File names such as {paths[0]!r} look like {naming.what}: {len(sizes):,} groups of {_span(sizes)} pictures. "
    )
    rest = f"Not switched on: {doubt}." if doubt else "A group stays in one part of the split."
    tie = "Group names count per class." if naming.scope == "class" else "A group may hold pictures of several classes."
    return [
        Choice("data.group_pattern", naming.pattern, what + rest, is_suggestion=bool(doubt)),
        Choice("data.group_scope", naming.scope, tie, is_suggestion=bool(doubt)),
    ]


def _span(sizes: Sequence[int]) -> str:
    """Of rising numbers, `3` or `3 to 5`."""
    return f"{sizes[0]}" if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"


def _doubt(found: Grouped, data: Data, listing: Listing, seed: int) -> str:
    """Why the groups are not to be switched on unasked; empty where nothing speaks against it."""
    if not found.naming.is_telling and not look_alike(found.keys, listing):
        return "pictures of one group look hardly more alike than others of their class"
    keys: dict[str, Any] = {"group_pattern": found.naming.pattern, "group_scope": found.naming.scope}
    try:
        listed(data.model_copy(update=keys), seed=seed)
    except InputError as error:
        return str(error).removeprefix("data: ").splitlines()[0]
    return ""


def look_alike(keys: Sequence[str], listing: Listing) -> bool:
    """Whether two pictures of one group are much nearer to each other than two of one class in different groups."""
    within, between = _pairs(keys, listing)
    if min(len(within), len(between)) < LEAST_PAIRS:
        return False
    near, far = (float(np.median([_distance(listing, *pair) for pair in pairs])) for pairs in (within, between))
    return near <= ALIKE * far


def _pairs(keys: Sequence[str], listing: Listing) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pairs of pictures in one group, and pairs of a picture in it and one of the next group of its class."""
    members = defaultdict[str, list[int]](list)
    for key, index in zip(keys, listing.given["train"].tolist(), strict=True):
        members[key].append(index)
    several = [own for own in members.values() if len(own) > 1]
    beside = [pair for pair in pairwise(several) if len(set(listing.labels[[own[0] for own in pair]])) == 1]
    chosen = beside[:: max(1, -(-len(beside) // PAIRS))]
    return [(own[0], own[len(own) // 2]) for own, _ in chosen], [(own[0], other[0]) for own, other in chosen]


def _distance(listing: Listing, one: int, other: int) -> float:
    """One less the correlation of two small grey copies; that of unreadable pictures is that of strangers."""
    try:
        return 1 - float(np.mean(_grey(listing.open(one)) * _grey(listing.open(other))))
    except UNREADABLE:
        return 1.0


def _grey(image: Image.Image) -> Array:
    """A grey copy of mean 0 and standard deviation 1."""
    with image:
        pixels = np.asarray(image.convert("L").resize((_SIDE, _SIDE)), np.float64)
    return np.asarray((pixels - pixels.mean()) / (pixels.std() or 1.0))
