"""NumPy archives: arrays of images and labels in one .npz file, as MedMNIST's. Nothing is ever unpickled."""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image

from nas.data.cache import cache_folder, key_of
from nas.data.folder_layout import LIKE_SPLITS, SPLITS
from nas.data.image_folder import identity_of
from nas.data.paths import folder_of, no_such
from nas.data.records import NO_GROUP, Array, Listing
from nas.data.walking import is_data
from nas.errors import InputError
from nas.machine import memory_bytes
from nas.study import Data

KEYS = "images and labels (or train_images and train_labels), val_ and test_ ones, classes, groups"
KINDS = ("images", "labels", "groups")
CHANNELS_LAST, CHANNELS_FIRST = (1, 3, 4), (1, 3)
_LOADING = Lock()  # threads that decode must not each load an array of gigabytes


@dataclass(frozen=True)
class _Archive:
    """A checked .npz file; arrays are read one at a time, when they are needed."""

    path: Path
    shapes: Mapping[str, tuple[tuple[int, ...], np.dtype[np.generic]]]

    def array(self, key: str) -> Array:
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                return np.asarray(arrays[key])
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise _wrong(self.path, f"{key}: cannot be read: {error}") from None

    def key(self, part: str, kind: str) -> str | None:
        """The name of a part's images, labels or groups; those of train may stand without prefix."""
        names = [f"{part}_{kind}", *([kind] if part == "train" else [])]
        found = [name for name in names if name in self.shapes]
        if len(found) > 1:
            raise _wrong(self.path, f"expected one of {' and '.join(names)}, got both")
        return found[0] if found else None


@dataclass(frozen=True)
class _Pixels:
    """One array of images, uint8 (N, H, W), (N, H, W, C) or (N, C, H, W)."""

    archive: _Archive
    key: str
    channels_first: bool
    too_large: bool

    @cached_property
    def _array(self) -> Array:
        """In memory, or mapped from an unpacked copy where it would fill more than a quarter of it."""
        return _unpacked(self.archive.path, self.key) if self.too_large else self.archive.array(self.key)

    def image(self, index: int) -> Image.Image:
        with _LOADING:
            array = self._array
        pixels = np.asarray(array[index])
        pixels = pixels.transpose(1, 2, 0) if self.channels_first else pixels
        return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels))


def list_npz(data: Data) -> Listing:
    """Every image of the archive; labels are read, images are not."""
    archive = _open(data)
    parts = {part: key for part in SPLITS if (key := archive.key(part, "images"))}
    pixels = [_pixels(archive, key) for key in parts.values()]
    labels = [_labels(archive, part, key) for part, key in parts.items()]
    names = npz_class_names(data)
    for part, own in zip(parts, labels, strict=True):
        _check_labels(archive.path, f"{part} labels", own, names)
    starts = np.cumsum([0, *(len(own) for own in labels)]).tolist()

    def place(index: int) -> tuple[_Pixels, int]:
        part = bisect_right(starts, index) - 1
        return pixels[part], index - starts[part]

    def name(index: int) -> str:
        own, position = place(index)
        return f"{archive.path}: {own.key}[{position}]"

    too_large = any(own.too_large for own in pixels)
    return Listing(
        names,
        np.concatenate(labels),
        {part: np.arange(*starts[i : i + 2]) for i, part in enumerate(parts)},
        open=lambda index: place(index)[0].image(place(index)[1]),
        name=name,
        identity=(lambda indices: f"{identity_of([archive.path])} {indices.tolist()}") if too_large else None,
        groups=_groups(archive, list(parts), starts),
    )


def npz_class_names(data: Data) -> tuple[str, ...]:
    """`classes` of the archive, else the numbers up to the largest training label."""
    archive = _open(data)
    if "classes" in archive.shapes:
        names = tuple(_text(name) for name in archive.array("classes").reshape(-1).tolist())
    else:
        key = archive.key("train", "images")
        assert key is not None
        labels = _labels(archive, "train", key)
        if (most := int(labels.max(initial=-1))) >= len(labels):
            raise _wrong(archive.path, f"train labels: expected images of every class, got {len(labels)} up to {most}")
        names = tuple(str(label) for label in range(most + 1))
    if len(names) < 2 or len(set(names)) < len(names):
        raise _wrong(archive.path, f"expected at least two classes, each named once, got {list(names)[:10]}")
    return names


def _text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _open(data: Data) -> _Archive:
    path = folder_of(data)
    if not path.is_file():
        raise no_such(path, "a .npz file", "folder")
    try:
        with zipfile.ZipFile(path) as file:
            members = [name for name in file.namelist() if name.endswith(".npy") and all(map(is_data, name.split("/")))]
            shapes = {name.removesuffix(".npy"): _header(file, name) for name in members}
    except (OSError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:  # encrypted, damaged
        raise _wrong(path, f"expected a .npz archive, got a file that is none ({error})") from None
    archive = _Archive(path, shapes)
    if archive.key("train", "images") is None:
        raise _wrong(path, f"expected arrays {KEYS}, got {', '.join(sorted(shapes)) or 'none'}")
    for key, (_, dtype) in shapes.items():
        part, _, kind = key.rpartition("_")
        if kind in KINDS and part.casefold() in LIKE_SPLITS and part not in SPLITS:
            raise _wrong(path, f"expected arrays {KEYS}, got {key}")
        if dtype.hasobject:
            raise _wrong(path, f"{key}: expected numbers or text, got Python objects, which would have to be unpickled")
    return archive


def _header(file: zipfile.ZipFile, member: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of an array, without its values."""
    with file.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        known = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = known(stream)
    return shape, dtype


def _pixels(archive: _Archive, key: str) -> _Pixels:
    shape, dtype = archive.shapes[key]
    if dtype != np.uint8:
        raise _wrong(archive.path, f"{key}: expected uint8, got {dtype}")
    last = len(shape) == 4 and shape[3] in CHANNELS_LAST
    first = len(shape) == 4 and not last and shape[1] in CHANNELS_FIRST
    if not (len(shape) == 3 or last or first) or 0 in shape:
        raise _wrong(archive.path, f"{key}: expected (N, H, W), (N, H, W, C) or (N, C, H, W), got {shape}")
    return _Pixels(archive, key, first, too_large=int(np.prod(shape)) > memory_bytes() // 4)


def _labels(archive: _Archive, part: str, images: str) -> Array:
    """int64 (N,); a second axis of one, as MedMNIST has it, is dropped."""
    key = archive.key(part, "labels")
    if key is None:
        raise _wrong(archive.path, f"expected labels of {images}, got {', '.join(sorted(archive.shapes))}")
    (shape, dtype), count = archive.shapes[key], archive.shapes[images][0][0]
    if dtype.kind not in "iu" or shape not in ((count,), (count, 1)):
        raise _wrong(archive.path, f"{key}: expected integers of shape ({count},), got {dtype} of shape {shape}")
    return archive.array(key).reshape(-1).astype(np.int64)


def _check_labels(path: Path, what: str, labels: Array, names: tuple[str, ...]) -> None:
    if labels.min() < 0 or labels.max() >= len(names):
        raise _wrong(path, f"{what}: expected 0 to {len(names) - 1}, got {labels.min()} to {labels.max()}")
    counts = np.bincount(labels, minlength=len(names))
    if not counts.all():
        raise _wrong(path, f"{what}: expected images of every class, got none of {names[int(np.argmin(counts))]!r}")


def _groups(archive: _Archive, parts: Sequence[str], starts: Sequence[int]) -> Array | None:
    """Group numbers; the images of a given part without such an array are of no group."""
    if archive.key("train", "groups") is None:
        return None
    keys = [archive.key(part, "groups") for part in parts]
    counts = np.diff(starts).tolist()
    for key, count in zip(keys, counts, strict=True):
        if key and archive.shapes[key][0] != (count,):
            raise _wrong(archive.path, f"{key}: expected shape ({count},), got {archive.shapes[key][0]}")
    codes = np.full(starts[-1], NO_GROUP)
    codes[np.repeat([key is not None for key in keys], counts)] = np.unique(
        np.concatenate([archive.array(key) for key in keys if key]), return_inverse=True
    )[1]
    return codes


def _unpacked(path: Path, key: str) -> Array:
    """An array of the archive, mapped from a copy in the cache: a compressed one cannot be mapped."""
    copy = cache_folder() / f"{path.stem}-{key}-{key_of(identity_of([path]))}.npy"
    try:
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            unfinished = copy.with_suffix(f".{os.getpid()}.tmp")
            with zipfile.ZipFile(path) as file, file.open(f"{key}.npy") as source, unfinished.open("wb") as target:
                shutil.copyfileobj(source, target)
            unfinished.replace(copy)
        mapped: Array = np.load(copy, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _wrong(path, f"{key}: too large for memory, and cannot be unpacked to {copy.parent}: {error}") from None
    return mapped


def _wrong(path: Path, text: str) -> InputError:
    return InputError(f"data.path: {path}: {text}")
