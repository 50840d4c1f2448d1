"""Data sets and the fixed train / validation / test split. Images are decoded once into uint8 arrays (N, C, H, W).

The canonical order of a data set is its training images, then validation, then test; those of an image folder are
sorted by class and name. split.json holds indices into it, what these images are called, and a digest of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Event

import numpy as np

from nas.data.cache import Faults, cache_folder
from nas.data.decoding import Form
from nas.data.duplicates import Part, leaks
from nas.data.paths import folder_of
from nas.data.reading import check_classes, check_faults, named, read, warn
from nas.data.records import Array, DataSet, Images, Listing, Split
from nas.data.sources import SOURCES
from nas.data.splitting import split_listing
from nas.errors import InputError
from nas.study import Data

__all__ = ["DataSet", "Images", "Listing", "Split", "cache_folder", "class_count", "folder_of", "listed", "load"]


@contextmanager
def _permitted() -> Iterator[None]:
    """Raises InputError where files may not be read."""
    try:
        yield
    except PermissionError as error:
        raise InputError(f"data.path: no permission to read {error.filename}") from None


@_permitted()
def load(data: Data, *, input_size: int, seed: int) -> DataSet:
    """Read what a study names. Raises InputError where the data cannot be used: missing, one class, unreadable ..."""
    listing, wanted = listed(data, seed=seed)
    form = Form(data.input_channels, input_size, data.resize)
    skip = data.unreadable == "skip"

    train, in_train, faults = read(listing, _sound(wanted.train, listing), form)
    validation, in_validation, more = read(listing, _sound(wanted.validation, listing), form)
    faults = {**listing.faults, **faults, **more}
    check_faults(listing, faults, skip=skip)
    check_classes(listing, in_train, "train")
    check_classes(listing, in_validation, "validation")

    in_test = _sound(wanted.test, listing)
    check_classes(listing, in_test, "test")
    root = str(folder_of(data)) if data.path else ""
    digest = listing.digest(root)
    split = Split(tuple(in_train.tolist()), tuple(in_validation.tolist()), tuple(in_test.tolist()), digest)
    known = Part("training", train, in_train), Part("validation", validation, in_validation)
    find_leaks = partial(leaks, known[:1], known[1], listing.name)
    if data.duplicates == "error":
        _refuse(find_leaks())
    load_test = partial(_load_test, listing, data, in_test, form, faults, known, compared=Event())
    return DataSet(
        listing.class_names, train, validation, split, load_test, named(listing, faults), find_leaks, listing, root
    )


@_permitted()
def listed(data: Data, *, seed: int, listing: Listing | None = None) -> tuple[Listing, Split]:
    """Every image of a study (its `listing` may be known) and its part of the split, before any is decoded.

    Raises InputError where that shows already that the data cannot be used.
    """
    listing = listing or SOURCES[data.source].list(data)
    listing = listing if data.cache else replace(listing, identity=None)
    check_faults(listing, dict(listing.faults), skip=data.unreadable == "skip")
    return listing, split_listing(listing, data, seed)


@_permitted()
def class_count(data: Data) -> int:
    """How many classes a study has, without reading an image."""
    return SOURCES[data.source].class_count(data)


def _sound(part: tuple[int, ...], listing: Listing) -> Array:
    return np.asarray([index for index in part if index not in listing.faults], np.int64)


def _load_test(
    listing: Listing,
    data: Data,
    indices: Array,
    form: Form,
    faults: Faults,
    known: tuple[Part, ...],
    *,
    compared: Event,
) -> Images:
    """The test images. What is wrong with them is an error or, the first time in this process, a warning."""
    images, kept, more = read(listing, indices, form)
    check_faults(listing, {**faults, **more}, skip=data.unreadable == "skip")
    check_classes(listing, kept, "test")
    if more:
        warn(f"{len(more)} test image(s) skipped: {'; '.join(named(listing, more)[:5])}")
    if not compared.is_set():
        found = leaks(known, Part("test", images, kept), listing.name)
        if data.duplicates == "error":
            _refuse(found)
        for leak in found:
            warn(leak)
        compared.set()
    return images


def _refuse(found: tuple[str, ...]) -> None:
    if found:
        raise InputError("data.duplicates: " + "; ".join(found))
