"""NumPy archives: arrays of images and labels in one .npz file, as MedMNIST's and Keras'. Nothing is ever unpickled."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.data.class_names import class_table, means_no_class, names_of
from nas.data.image_files import identity_of
from nas.data.npz_arrays import Archive, Pixels, open_archive, pixels_of, wrong
from nas.data.parts import SPLITS, check_parts
from nas.data.records import NO_GROUP, Array, Listing
from nas.study import Data


@dataclass(frozen=True)
class _Labelled:
    """The archive, its images by part, the classes, and the labels by part."""

    archive: Archive
    pixels: Mapping[str, Pixels]
    class_names: tuple[str, ...]
    labels: Mapping[str, Array]


def list_npz(data: Data) -> Listing:
    """Every image of the archive; labels are read, images are not."""
    found = _labelled(data)
    archive, parts, pixels = found.archive, list(found.pixels), list(found.pixels.values())
    labels = np.concatenate(list(found.labels.values()))
    starts = np.cumsum([0, *map(len, found.labels.values())]).tolist()
    given = {part: np.arange(*starts[i : i + 2]) for i, part in enumerate(parts)}
    check_parts(given, labels, found.class_names, str(archive.path))

    def place(index: int) -> tuple[Pixels, int]:
        part = bisect_right(starts, index) - 1
        return pixels[part], index - starts[part]

    def name(index: int) -> str:
        own, position = place(index)
        return f"{archive.path}: {own.key}[{position}]"

    too_large = any(own.too_large for own in pixels)
    return Listing(
        found.class_names,
        labels,
        given,
        open=lambda index: place(index)[0].image(place(index)[1]),
        name=name,
        identity=(lambda indices: f"{identity_of([archive.path])} {indices.tolist()}") if too_large else None,
        groups=_groups(archive, parts, starts),
    )


def npz_class_names(data: Data) -> tuple[str, ...]:
    """`classes` of the archive, or the names in the study's file; else the distinct labels, or 0 to the largest."""
    return _labelled(data).class_names


def _labelled(data: Data) -> _Labelled:
    archive = open_archive(data)
    parts = {part: key for part in SPLITS if (key := archive.key(part, "images"))}
    pixels = {part: pixels_of(archive, key, in_memory=not data.cache) for part, key in parts.items()}
    raw = {part: _labels(archive, part, key) for part, key in parts.items()}
    names = names_of(data) or _classes(archive)
    if len({own.dtype.kind for own in raw.values()}) > 1:
        kinds = " and ".join(f"{own.dtype} of {part}" for part, own in raw.items())
        raise wrong(archive.path, f"expected labels of one type, got {kinds}")
    if raw["train"].dtype.kind == "U":
        texts = {text for own in raw.values() for text in own.tolist()}
        names, classes = class_table(texts, names)
        if unknown := sorted(texts - set(classes)):
            raise wrong(archive.path, f"labels: {means_no_class(unknown[0], names)}")
        labels = {part: np.array([classes[text] for text in own.tolist()], np.int64) for part, own in raw.items()}
    else:
        names, labels = names or _numbers(archive, raw["train"]), raw
    if len(names) < 2 or len(set(names)) < len(names):
        raise wrong(archive.path, f"expected at least two classes, each named once, got {list(names)[:10]}")
    for part, own in labels.items():
        if own.min() < 0 or own.max() >= len(names):
            expected = f"{part} labels: expected 0 to {len(names) - 1}"
            raise wrong(archive.path, f"{expected}, got {own.min()} to {own.max()}")
    return _Labelled(archive, pixels, names, labels)


def _classes(archive: Archive) -> tuple[str, ...] | None:
    if "classes" not in archive.shapes:
        return None
    return tuple(_text(name) for name in archive.array("classes").reshape(-1).tolist())


def _numbers(archive: Archive, labels: Array) -> tuple[str, ...]:
    """Names for the classes 0 to the largest label of the training images."""
    if (most := int(labels.max(initial=-1))) >= len(labels):
        raise wrong(archive.path, f"train labels: expected images of every class, got {len(labels)} up to {most}")
    return tuple(str(label) for label in range(most + 1))


def _text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _labels(archive: Archive, part: str, images: str) -> Array:
    """int64 (N,) or text (N,); a second axis of one, as MedMNIST has it, is dropped, and one-hot rows are read."""
    key = archive.key(part, "labels")
    if key is None:
        raise wrong(archive.path, f"expected labels of {images}, got {', '.join(sorted(archive.shapes))}")
    (shape, dtype), count = archive.shapes[key], archive.shapes[images][0][0]
    is_one_hot = len(shape) == 2 and shape[0] == count and shape[1] > 1 and dtype.kind in "biuf"
    if dtype.kind not in "biufSU" or not (is_one_hot or shape in ((count,), (count, 1))):
        expected = f"expected whole numbers or text of shape ({count},), or one-hot rows"
        raise wrong(archive.path, f"{key}: {expected}, got {dtype} of shape {shape}")
    labels = archive.array(key)
    if is_one_hot:
        return _from_one_hot(archive, key, labels)
    labels = labels.reshape(-1)
    if dtype.kind in "SU":
        return np.array([_text(label) for label in labels.tolist()], str)
    if dtype.kind == "f" and not (np.isfinite(labels).all() and (labels == np.round(labels)).all()):
        at = int(np.argmin(np.isfinite(labels) & (labels == np.round(labels))))
        raise wrong(archive.path, f"{key}: expected whole numbers, got {labels[at]:g} at {at}")
    return labels.astype(np.int64)


def _from_one_hot(archive: Archive, key: str, rows: Array) -> Array:
    good = ((rows == 0) | (rows == 1)).all(1) & (rows.sum(1) == 1)
    if not good.all():
        at = int(np.argmin(good))
        raise wrong(archive.path, f"{key}: expected one 1 and else 0 in each row, got {rows[at].tolist()[:10]} at {at}")
    return np.asarray(np.argmax(rows, axis=1), np.int64)


def _groups(archive: Archive, parts: Sequence[str], starts: Sequence[int]) -> Array | None:
    """Group numbers; the images of a given part without such an array are of no group."""
    if archive.key("train", "groups") is None:
        return None
    keys = [archive.key(part, "groups") for part in parts]
    counts = np.diff(starts).tolist()
    for key, count in zip(keys, counts, strict=True):
        if key and archive.shapes[key][0] != (count,):
            raise wrong(archive.path, f"{key}: expected shape ({count},), got {archive.shapes[key][0]}")
    codes = np.full(starts[-1], NO_GROUP)
    codes[np.repeat([key is not None for key in keys], counts)] = np.unique(
        np.concatenate([archive.array(key) for key in keys if key]), return_inverse=True
    )[1]
    return codes
