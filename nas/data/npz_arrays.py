"""The arrays of an .npz file: found by the names that are usual; images of 0 to 255, or floats of 0 to 1.

Nothing is ever unpickled.
"""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image

from nas.data.cache import cache_folder, key_of
from nas.data.image_files import identity_of
from nas.data.parts import LIKE_SPLITS, SPLITS
from nas.data.paths import folder_of, no_such
from nas.data.records import Array
from nas.data.walking import is_data
from nas.errors import InputError
from nas.machine import memory_bytes
from nas.study import Data

KEYS = "images and labels (or train_images ..., or x_train and y_train), those of val and test, classes, groups"
SHORT = {"images": "x", "labels": "y"}  # as in Keras' files: x_train, y_test; and in scikit-learn's words X, y
KINDS = ("images", "labels", "groups")
CHANNELS_LAST, CHANNELS_FIRST = (1, 3, 4), (1, 3)
WHITE = 255
_LOADING = Lock()  # threads that decode must not each load an array of gigabytes


@dataclass(frozen=True)
class Archive:
    """A checked .npz file; arrays are read one at a time, when they are needed."""

    path: Path
    shapes: Mapping[str, tuple[tuple[int, ...], np.dtype[np.generic]]]

    def array(self, key: str) -> Array:
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                return np.asarray(arrays[key])
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise wrong(self.path, f"{key}: cannot be read: {error}") from None

    def key(self, part: str, kind: str) -> str | None:
        """The name of a part's images, labels or groups; those of train may stand without prefix."""
        exact = [f"{part}_{kind}", *([kind] if part == "train" else [])]
        short = SHORT.get(kind)
        in_any_case = [f"{short}_{part}", *([short] if part == "train" else [])] if short else []
        found = [name for name in self.shapes if name in exact or name.casefold() in in_any_case]
        if len(found) > 1:
            raise wrong(self.path, f"expected one of {', '.join([*exact, *in_any_case])}, got {' and '.join(found)}")
        return found[0] if found else None


@dataclass(frozen=True)
class Pixels:
    """One array of images: (N, H, W), (N, H, W, C) or (N, C, H, W), of 0 to 255 or of 0 to 1."""

    archive: Archive
    key: str
    channels_first: bool
    too_large: bool

    @cached_property
    def _array(self) -> Array:
        """In memory, or mapped from an unpacked copy where it would fill more than a quarter of it."""
        return _unpacked(self.archive.path, self.key) if self.too_large else self.archive.array(self.key)

    @cached_property
    def _scale(self) -> int:
        """What makes 255 of white: 1 or, for booleans and for floats of which none is above 1, 255.

        Raises InputError where numbers are neither of 0 to 1 nor of 0 to 255.
        """
        if self._array.dtype in (np.uint8, np.bool_):
            return WHITE if self._array.dtype == np.bool_ else 1
        low, high = _bounds(self._array)
        if not (low >= 0 and high <= WHITE):  # NaN is neither
            raise wrong(
                self.archive.path, f"{self.key}: expected values of 0 to 1 or of 0 to 255, got {low:g} to {high:g}"
            )
        return WHITE if high <= 1 and self._array.dtype.kind == "f" else 1

    def image(self, index: int) -> Image.Image:
        with _LOADING:
            array, scale = self._array, self._scale
        pixels = np.asarray(array[index])
        if pixels.dtype != np.uint8:
            pixels = np.round(pixels * np.float64(scale)).astype(np.uint8)
        pixels = pixels.transpose(1, 2, 0) if self.channels_first else pixels
        return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels))


def _bounds(array: Array) -> tuple[float, float]:
    """Smallest and largest value, without a copy of the whole; NaN where there is one."""
    step = max(1, 2**22 // max(1, array[0].size))
    blocks = [array[start : start + step] for start in range(0, len(array), step)]
    lows, highs = [float(block.min()) for block in blocks], [float(block.max()) for block in blocks]
    return float(np.min(lows)), float(np.max(highs))


def open_archive(data: Data) -> Archive:
    path = folder_of(data)
    if not path.is_file():
        raise no_such(path, "a .npz file", "folder")
    try:
        with zipfile.ZipFile(path) as file:
            members = [name for name in file.namelist() if name.endswith(".npy") and all(map(is_data, name.split("/")))]
            shapes = {name.removesuffix(".npy"): _header(file, name) for name in members}
    except (OSError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:  # encrypted, damaged
        raise wrong(path, f"expected a .npz archive, got a file that is none ({error})") from None
    archive = Archive(path, shapes)
    if archive.key("train", "images") is None:
        raise wrong(path, f"expected arrays {KEYS}, got {', '.join(sorted(shapes)) or 'none'}")
    for key, (_, dtype) in shapes.items():
        head, _, tail = key.rpartition("_")
        part = head if tail in KINDS else tail if head.casefold() in SHORT.values() else ""
        if part.casefold() in LIKE_SPLITS and part not in SPLITS:
            raise wrong(path, f"expected arrays {KEYS}, got {key}")
        if dtype.hasobject:
            raise wrong(path, f"{key}: expected numbers or text, got Python objects, which would have to be unpickled")
    return archive


def _header(file: zipfile.ZipFile, member: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of an array, without its values."""
    with file.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        known = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = known(stream)
    return shape, dtype


def pixels_of(archive: Archive, key: str, *, in_memory: bool) -> Pixels:
    """The images under `key`; `in_memory`: also where they fill most of it. Raises InputError for other shapes."""
    shape, dtype = archive.shapes[key]
    if dtype.kind not in "uibf":
        raise wrong(archive.path, f"{key}: expected numbers, got {dtype}")
    last = len(shape) == 4 and shape[3] in CHANNELS_LAST
    first = len(shape) == 4 and not last and shape[1] in CHANNELS_FIRST
    if not (len(shape) == 3 or last or first) or 0 in shape:
        raise wrong(archive.path, f"{key}: expected (N, H, W), (N, H, W, C) or (N, C, H, W), got {shape}")
    is_large = int(np.prod(shape)) * dtype.itemsize > memory_bytes() // 4
    return Pixels(archive, key, first, too_large=is_large and not in_memory)


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
        raise wrong(path, f"{key}: too large for memory, and cannot be unpacked to {copy.parent}: {error}") from None
    return mapped


def wrong(path: Path, text: str) -> InputError:
    return InputError(f"data.path: {path}: {text}")
