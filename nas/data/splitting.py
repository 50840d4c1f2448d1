"""The split into train, validation and test: given parts as they are, missing ones cut from train, seeded."""

from __future__ import annotations

import numpy as np

from nas.data.grouping import check_given_groups, cut_groups
from nas.data.records import Array, Listing, Split
from nas.errors import InputError
from nas.study import Data

KEYS = {"test": "test", "val": "validation"}


def split_listing(listing: Listing, data: Data, seed: int) -> Split:
    """Stratified by class; where the listing knows groups, each stays in one part. `data.split_seed` stands above
    `seed`, the study's.
    """
    random = np.random.default_rng(seed if data.split_seed is None else data.split_seed)
    train = listing.given["train"]
    parts = {name: listing.given[name] for name in KEYS if name in listing.given}
    if listing.groups is not None:
        check_given_groups(listing)
    missing, total = [name for name in KEYS if name not in parts], len(train)
    for done, name in enumerate(missing):
        fraction: float = getattr(data, KEYS[name])
        if fraction == 0:
            raise InputError(f"data.{KEYS[name]}: 0, and the data has no {name}/ split")
        fraction *= total / len(train)
        if listing.groups is None:
            parts[name], train = _cut(train, listing, fraction, random)
        else:
            parts[name], train = cut_groups(train, listing, fraction, random, keep=len(missing) - done)
    if data.train_images is not None:
        train = _limited(train, listing, data.train_images, random)
    return Split(_sorted(train), _sorted(parts["val"]), _sorted(parts["test"]))


def _sorted(indices: Array) -> tuple[int, ...]:
    return tuple(sorted(indices.tolist()))


def _cut(indices: Array, listing: Listing, fraction: float, random: np.random.Generator) -> tuple[Array, Array]:
    """Cut a stratified fraction off; both sides keep at least one image of every class."""
    cut: list[Array] = []
    rest: list[Array] = []
    for label, name in enumerate(listing.class_names):
        own = random.permutation(indices[listing.labels[indices] == label])
        if len(own) < 2:
            raise InputError(f"data: class {name!r} has too few images to be split into train, validation and test")
        count = min(max(1, round(fraction * len(own))), len(own) - 1)
        cut.append(own[:count])
        rest.append(own[count:])
    return np.concatenate(cut), np.concatenate(rest)


def _limited(train: Array, listing: Listing, wanted: int, random: np.random.Generator) -> Array:
    """Exactly `wanted` training images, every class in proportion and none left out."""
    classes = len(listing.class_names)
    if not classes <= wanted <= len(train):
        bound = f"at most {len(train)}" if wanted > len(train) else f"at least {classes}, one per class"
        raise InputError(f"data.train_images: expected {bound}, got {wanted}")
    if wanted == len(train):
        return train
    by_class = [random.permutation(train[listing.labels[train] == label]) for label in range(classes)]
    counts = largest_remainder([len(own) for own in by_class], wanted)
    return np.concatenate([own[:count] for own, count in zip(by_class, counts, strict=True)])


def largest_remainder(sizes: list[int], total: int) -> list[int]:
    """Whole numbers in proportion to `sizes` that sum to `total`, each at least 1: Hamilton's method of seats."""
    exact = np.array(sizes) * (total / sum(sizes))
    counts = np.maximum(1, np.floor(exact + 1e-9)).astype(np.int64)
    while (short := total - int(counts.sum())) != 0:
        owed = exact - counts
        at = int(np.argmax(owed)) if short > 0 else int(np.argmin(np.where(counts > 1, owed, np.inf)))
        counts[at] += 1 if short > 0 else -1
    return [int(count) for count in counts]
