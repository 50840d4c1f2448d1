"""Data sets and the fixed train / validation / test split. Images are decoded once into uint8 arrays (N, C, H, W).

The canonical order of a data set is its training images, then validation, then test; those of an image folder are
sorted by class and name. split.json holds indices into it, and a digest of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import assert_never

import numpy as np

from nas.data.cache import Faults, cache_folder
from nas.data.decoding import Form
from nas.data.digits import list_digits
from nas.data.duplicates import Part, leaks
from nas.data.image_folder import class_names_in, list_image_folder
from nas.data.npz import list_npz, npz_class_names
from nas.data.paths import folder_of
from nas.data.reading import check_classes, check_faults, named, read, warn
from nas.data.records import Array, DataSet, Images, Listing, Split
from nas.data.splitting import split_listing
from nas.data.torchvision_sets import SETS, list_torchvision
from nas.errors import InputError
from nas.study import Data

__all__ = ["DataSet", "Images", "Listing", "Split", "cache_folder", "class_count", "folder_of", "load"]


@contextmanager
def _permitted() -> Iterator[None]:
    """Raises InputError where files may not be read."""
    try:
        yield
    except PermissionError as error:
        raise InputError(f"data.path: no permission to read {error.filename}") from None


@_permitted()
def load(data: Data, *, input_size: int, seed: int) -> DataSet:
    """Read what a study names. Raises InputError where the data cannot serve: missing, one class, unreadable ..."""
    listing = _list(data)
    form = Form(data.input_channels, input_size, data.resize)
    skip = data.unreadable == "skip"
    check_faults(listing, dict(listing.faults), skip=skip)
    wanted = split_listing(listing, data, seed)

    train, in_train, faults = read(listing, _sound(wanted.train, listing), form)
    validation, in_validation, more = read(listing, _sound(wanted.validation, listing), form)
    faults = {**listing.faults, **faults, **more}
    check_faults(listing, faults, skip=skip)
    check_classes(listing, in_train, "train")
    check_classes(listing, in_validation, "validation")

    in_test = _sound(wanted.test, listing)
    check_classes(listing, in_test, "test")
    digest = listing.digest(str(folder_of(data)) if data.path else "")
    split = Split(tuple(in_train.tolist()), tuple(in_validation.tolist()), tuple(in_test.tolist()), digest)
    known = Part("training", train, in_train), Part("validation", validation, in_validation)
    find_leaks = partial(leaks, known[:1], known[1], listing.name)
    if data.duplicates == "error":
        _refuse(find_leaks())
    load_test = partial(_load_test, listing, data, in_test, form, faults, known, compared=Event())
    return DataSet(listing.class_names, train, validation, split, load_test, named(listing, faults), find_leaks)


def _list(data: Data) -> Listing:
    match data.source:
        case "digits":
            return list_digits()
        case "image_folder":
            return list_image_folder(data)
        case "npz":
            return list_npz(data)
        case "torchvision":
            return list_torchvision(data)
    assert_never(data.source)


@_permitted()
def class_count(data: Data) -> int:
    """How many classes a study has, without reading an image."""
    match data.source:
        case "digits":
            return 10
        case "image_folder":
            return len(class_names_in(data))
        case "npz":
            return len(npz_class_names(data))
        case "torchvision":
            assert data.dataset is not None
            return SETS[data.dataset].classes
    assert_never(data.source)


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
