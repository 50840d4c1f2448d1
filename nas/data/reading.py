"""Read some images of a listing: from the cache, else decoded in blocks, into the cache or into memory."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from nas.data.cache import Block, Faults, cache_folder, key_of, store, stored
from nas.data.decoding import UNREADABLE, Form, decode, reason_of
from nas.data.records import Array, Images, Listing
from nas.errors import InputError
from nas.machine import cores

BLOCK_IMAGES = 512
MOST_UNREADABLE = 0.1
DECODING = 4  # counted up whenever the same file would decode differently


def read(listing: Listing, indices: Array, form: Form) -> tuple[Images, Array, Faults]:
    """The images at `indices` that can be read, their indices, and why the others cannot."""
    pixels, faults = _pixels(listing, indices, form)
    kept = np.delete(indices, list(faults))
    found = {int(indices[position]): reason for position, reason in faults.items()}
    return Images(pixels, listing.labels[kept]), kept, found


def _pixels(listing: Listing, indices: Array, form: Form) -> Block:
    blocks, shape = _blocks(listing, indices, form), (form.channels, form.size, form.size)
    if listing.identity is None:
        return _in_memory(blocks, shape)
    key = key_of(f"{DECODING} {form.channels} {form.size} {form.resize}\n{listing.identity(indices)}")
    try:
        found = stored(key) or store(key, blocks, shape)
    except OSError as error:
        why = f"the cache {cache_folder()} cannot be written: {error.strerror or error}"
        warn(f"decoded images are kept in memory, {why}")
        found = None
    return found or _in_memory(_blocks(listing, indices, form), shape)


def _in_memory(blocks: Iterator[Block], shape: tuple[int, ...]) -> Block:
    parts, faults = [np.empty((0, *shape), np.uint8)], Faults()
    for images, found in blocks:
        parts.append(images)
        faults |= found
    return np.concatenate(parts), faults


def _blocks(listing: Listing, indices: Array, form: Form) -> Iterator[Block]:
    """Decode in blocks of a few hundred images; faults are keyed by position in `indices`."""

    def one(index: int) -> Array | str:
        try:
            with listing.open(index) as image:
                return decode(image, form)
        except UNREADABLE as error:
            return reason_of(error)

    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(indices), BLOCK_IMAGES):
            results = list(pool.map(one, indices[start : start + BLOCK_IMAGES].tolist()))
            images = [result for result in results if not isinstance(result, str)]
            faults = {start + i: result for i, result in enumerate(results) if isinstance(result, str)}
            yield np.stack(images) if images else np.empty((0, form.channels, form.size, form.size), np.uint8), faults


def check_faults(listing: Listing, faults: Faults, *, skip: bool) -> None:
    """Raise InputError where unreadable images may not be skipped, or a class loses more than a tenth of its own."""
    if not skip and faults:
        raise InputError(_message(f"{len(faults)} unreadable image file(s)", named(listing, faults)))
    counts = np.bincount(listing.labels)
    lost = np.bincount(listing.labels[list(faults)], minlength=len(counts)) if faults else np.zeros_like(counts)
    for label in np.flatnonzero(lost > MOST_UNREADABLE * counts):
        own = {index: reason for index, reason in faults.items() if listing.labels[index] == label}
        what = (
            f"{lost[label]} unreadable image file(s) of the {counts[label]} of class {listing.class_names[label]!r}, "
            "more than a tenth"
        )
        raise InputError(_message(what, named(listing, own)))


def check_classes(listing: Listing, kept: Array, part: str) -> None:
    """Raise InputError where a part lost every image of a class."""
    counts = np.bincount(listing.labels[kept], minlength=len(listing.class_names))
    if not counts.all():
        name = listing.class_names[int(np.argmin(counts))]
        raise InputError(f"data: no image of class {name!r} in the {part} split can be read")


def warn(text: str) -> None:
    """Warn of the data; where Python makes warnings errors, say it all the same and go on."""
    try:
        warnings.warn(text, stacklevel=3)
    except UserWarning:
        print(f"warning: {text}", file=sys.stderr)


def named(listing: Listing, faults: Faults) -> tuple[str, ...]:
    return tuple(f"{listing.name(index)}: {faults[index]}" for index in sorted(faults))


def _message(what: str, lines: Sequence[str]) -> str:
    shown = "\n  ".join(lines[:5])
    more = f"\n  and {len(lines) - 5} more" if len(lines) > 5 else ""
    return f"data.path: {what}:\n  {shown}{more}"
