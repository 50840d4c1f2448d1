"""The same picture in two parts of a split: found by its decoded pixels, as a network sees them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nas.data.records import Array, Images

RUN_BYTES = 32  # of each of the three places of an image that are compared first
Pair = tuple[int, int]


def same_pictures(ours: Images, theirs: Images) -> list[Pair]:
    """(position in `ours`, position in `theirs`) of every image of `theirs` that is in `ours` too, bit for bit.

    A few bytes of every image are compared first; only where those agree all its pixels are hashed. So a large set is
    hardly read for it. Of several equal images in `ours` the first counts.
    """
    first, second = _samples(ours.images), _samples(theirs.images)
    common = set(first) & set(second)
    known: dict[bytes, int] = {}
    for position, digest in _digests(ours.images, first, common):
        known.setdefault(digest, position)
    found = _digests(theirs.images, second, common)
    return [(known[digest], position) for position, digest in found if digest in known]


def _samples(images: Array) -> list[bytes]:
    """Bytes at a quarter, at the half and at three quarters of every image (N, C, H, W)."""
    size = math.prod(images.shape[1:])
    flat = images.reshape(len(images), size)
    starts = [max(0, min(size * quarter // 4, size - RUN_BYTES)) for quarter in (1, 2, 3)]
    pieces = np.concatenate([flat[:, start : start + RUN_BYTES] for start in starts], axis=1)
    return [piece.tobytes() for piece in pieces]


def _digests(images: Array, samples: list[bytes], wanted: set[bytes]) -> Iterator[tuple[int, bytes]]:
    """Position and digest of the images whose samples are `wanted`."""
    for position, sample in enumerate(samples):
        if sample in wanted:
            yield position, hashlib.blake2b(images[position].tobytes(), digest_size=16).digest()


@dataclass(frozen=True)
class Part:
    """One part of a split as it was read: its images and their indices in the canonical order."""

    name: str
    images: Images
    indices: Array


def leaks(parts: Sequence[Part], read: Part, name: Callable[[int], str]) -> tuple[str, ...]:
    """A sentence for each of `parts` that holds pictures of `read` too; `name` is what messages call an image."""
    return tuple(filter(None, (_leak(part, read, name) for part in parts)))


def _leak(ours: Part, theirs: Part, name: Callable[[int], str]) -> str | None:
    pairs = same_pictures(ours.images, theirs.images)
    if not pairs:
        return None
    first, second = pairs[0]
    differing = sum(int(ours.images.labels[i] != theirs.images.labels[j]) for i, j in pairs)
    labels = f", {differing} of them with another class," if differing else ""
    return (
        f"{len(pairs)} of {len(theirs.images)} {theirs.name} images{labels} are {ours.name} images too, "
        f"pixel by pixel: first {name(int(theirs.indices[second]))}, which is {name(int(ours.indices[first]))}"
    )
