"""What a data set is made of: labelled images, the split, the listing every source answers with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]
STATISTICS_BLOCK = 64  # images
NO_GROUP = -1


@dataclass(frozen=True)
class Images:
    """Labelled images: uint8 (N, C, H, W) and int64 (N,)."""

    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: slice | Array) -> Images:
        return Images(self.images[indices], self.labels[indices])

    def evenly_spaced(self, most: int) -> Images:
        """At most `most` images, evenly over all: they lie class by class, so the first ones are of few classes."""
        return self.take(slice(None, None, max(1, -(-len(self) // most))))


@dataclass(frozen=True)
class Split:
    """Indices in the canonical order; train is what neither validation nor test holds, less what cannot be read.

    images: the order they are in, as a digest of every image's name and class.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    images: str = field(default="", compare=False)

    def to_json(self, names: Callable[[int], str] | None = None) -> str:
        """What split.json holds; `names` gives what each image of validation and test is called there."""
        held = {"validation": self.validation, "test": self.test}
        files = {} if names is None else {"files": {part: [names(i) for i in own] for part, own in held.items()}}
        return json.dumps({**held, "images": self.images, **files})


@dataclass(frozen=True)
class DataSet:
    """Train and validation images; the test images are read only when asked for.

    `skipped` names the images that could not be read, each as "path: reason". Of the test images only those are
    among them whose header is broken: the others are not looked at before `load_test`, which warns of them. It also
    warns of test images that are training or validation images too. `listing`: all of the images, by which `describe`
    counts those of the test split; `root`: where the set lies.
    """

    class_names: tuple[str, ...]
    train: Images
    validation: Images
    split: Split
    load_test: Callable[[], Images]
    skipped: tuple[str, ...] = ()
    find_leaks: Callable[[], tuple[str, ...]] = tuple
    listing: Listing | None = None
    root: str = ""

    @property
    def file_names(self) -> Callable[[int], str] | None:
        """What records call the image at an index: its path below the data set's folder, or its place in a file."""
        listing = self.listing
        return None if listing is None else lambda index: listing.key_of(index, self.root).lstrip("/: ")

    @cached_property
    def leaks(self) -> tuple[str, ...]:
        """Sentences on validation images that are training images too; the test images are compared when read."""
        return self.find_leaks()

    @cached_property
    def mean_std(self) -> tuple[float, float]:
        """Mean and standard deviation over all channels of the training pixels in [0, 1]."""
        sample = self.train.images[:: max(1, len(self.train) // 5000)]
        counts = np.zeros(256, np.int64)
        for start in range(0, len(sample), STATISTICS_BLOCK):  # an image at 224 pixels is a megabyte when counted
            counts += np.bincount(sample[start : start + STATISTICS_BLOCK].reshape(-1), minlength=256)
        values = np.arange(256) / 255
        mean = np.average(values, weights=counts)
        return float(mean), float(np.sqrt(np.average((values - mean) ** 2, weights=counts))) or 1.0

    @cached_property
    def class_weights(self) -> tuple[float, ...]:
        """Per class N / (classes * count) of the N training images: every class weighs the same in sum, and the mean
        weight of an image is 1 (King and Zeng 2001, doi:10.1093/oxfordjournals.pan.a004868).
        """
        counts = np.bincount(self.train.labels, minlength=len(self.class_names))
        return tuple((len(self.train) / (len(counts) * counts)).tolist())


@dataclass(frozen=True)
class Listing:
    """Every image of a data set in canonical order, and how to open one.

    labels: int64 (N,). given: the indices of each part that comes with the data: train, perhaps val and test.
    open: image i as PIL sees it; name: what messages call it. identity: a text that changes whenever what decoding
    these indices gives may change; without it nothing is cached. groups: int64 (N,), images of one group stay in one
    part, those of NO_GROUP anywhere. faults: images known to be unreadable before any is decoded, with the reason.
    key: what an image is called in records, wherever the set lies; without it its name, less the set's own place.
    left_out: files and folders that are no images of the set, by reason. notes: what else was found, in sentences.
    """

    class_names: tuple[str, ...]
    labels: Array
    given: Mapping[str, Array]
    open: Callable[[int], Image.Image]
    name: Callable[[int], str]
    identity: Callable[[Array], str] | None = None
    groups: Array | None = None
    faults: Mapping[int, str] = field(default_factory=dict)
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    key: Callable[[int], str] | None = None

    def key_of(self, index: int, root: str) -> str:
        """What an image is called in records; `root` is what its name may begin with where the set lies."""
        return self.name(index).removeprefix(root) if self.key is None else self.key(index)

    def digest(self, root: str) -> str:
        """Of the names, below `root` where they are paths, and classes of all images in their order."""
        names = (self.key_of(index, root) for index in range(len(self.labels)))
        lines = (f"{self.class_names[label]} {name}" for label, name in zip(self.labels.tolist(), names, strict=True))
        return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()
