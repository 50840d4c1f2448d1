"""Labelled images as a program has them, arrays or tensors, as the .npz file that a study reads.

Images are (N, H, W), (N, H, W, C) or (N, C, H, W), of 0 to 255 or floats of 0 to 1; labels are what an .npz file may
hold.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from nas.data.records import Array
from nas.errors import InputError

WHITE = 255
CHANNELS_LAST, CHANNELS_FIRST = (1, 3, 4), (1, 3)
BLOCK = 256  # images that are scaled at a time


@runtime_checkable
class Tensor(Protocol):
    """What of torch's tensors is needed here; theirs are channels first."""

    def detach(self) -> Tensor: ...
    def cpu(self) -> Tensor: ...
    def numpy(self) -> Array: ...


ImagesLike = ArrayLike | Tensor
Arrays = tuple[ImagesLike, ImagesLike]


@dataclass(frozen=True)
class Labelled:
    """Images uint8 (N, H, W) or (N, H, W, C), and as many labels."""

    images: Array
    labels: Array

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return 1 if self.images.ndim == 3 else 3

    @property
    def side(self) -> float:
        """Of a square of an image's area, in pixels."""
        return float(np.sqrt(np.prod(self.images.shape[1:3])))


def labelled(given: Arrays, name: str) -> Labelled:
    """Images and labels, checked; `name` is the argument's. Raises InputError where they are not of one length."""
    if not isinstance(given, Sequence) or len(given) != 2:
        raise InputError(f"{name}: expected a pair (images, labels), got {_shown(given)}")
    images, labels = pixels_of(given[0], f"{name}[0]"), _labels(given[1], f"{name}[1]")
    if len(images) != len(labels):
        raise InputError(
            f"{name}: expected as many labels as images, got {len(images)} images and {len(labels)} labels"
        )
    return Labelled(images, labels)


def pixels_of(given: ImagesLike, name: str) -> Array:
    """Images as uint8 (N, H, W), grey, or (N, H, W, 3 or 4).

    Raises InputError for other shapes, and for values that are neither of 0 to 255 nor of 0 to 1.
    """
    array, is_tensor = as_array(given), isinstance(given, Tensor)
    if array.dtype.kind not in "uibf":
        raise InputError(f"{name}: expected numbers, got {array.dtype}")
    last = array.ndim == 4 and array.shape[3] in CHANNELS_LAST
    first = array.ndim == 4 and array.shape[1] in CHANNELS_FIRST and (is_tensor or not last)
    if 0 in array.shape or not (array.ndim == 3 or last or first):
        raise InputError(f"{name}: expected images (N, H, W), (N, H, W, C) or (N, C, H, W), got {array.shape}")
    array = array.transpose(0, 2, 3, 1) if first else array
    return _eight_bit(array[..., 0] if array.shape[3:] == (1,) else array, name)


def as_array(given: ImagesLike) -> Array:
    """A tensor, an array or nested lists as an array."""
    return given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)


def _eight_bit(array: Array, name: str) -> Array:
    """Values of 0 to 255; booleans, and floats of which none is above 1, are shares of white."""
    if array.dtype == np.uint8:
        return array
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= WHITE):  # NaN is neither
        raise InputError(
            f"{name}: expected values of 0 to 1 or of 0 to 255, got {low:g} to {high:g}; give the pixels themselves: "
            "networks normalize them"
        )
    scale = WHITE if array.dtype.kind == "b" or (array.dtype.kind == "f" and high <= 1) else 1
    pixels = np.empty(array.shape, np.uint8)
    for start in range(0, len(array), BLOCK):
        block = slice(start, start + BLOCK)
        pixels[block] = np.round(array[block] * np.float64(scale))
    return pixels


def _labels(given: ImagesLike, name: str) -> Array:
    """Labels (N,), (N, 1) or one-hot (N, classes); what they mean is checked where the file is read."""
    labels = as_array(given)
    if labels.dtype == object and all(isinstance(label, str) for label in labels.reshape(-1)):
        labels = labels.astype(str)
    if labels.ndim not in (1, 2) or labels.dtype.kind not in "uibfSU":
        raise InputError(f"{name}: expected labels as numbers or text, one per image, got {_shown(labels)}")
    return labels


def _shown(given: object) -> str:
    shape = getattr(given, "shape", None)
    return type(given).__name__ if shape is None else f"{getattr(given, 'dtype', '')} of shape {tuple(shape)}"


def archive_of(parts: Mapping[str, Labelled], class_names: Sequence[str] | None = None) -> dict[str, Array]:
    """The arrays of a file, by the names that they have in it, of `train` and perhaps `val` and `test`.

    Raises InputError where one part is grey and another in colour.
    """
    if len(kinds := {part: own.channels for part, own in parts.items()}) > 1 and len(set(kinds.values())) > 1:
        came = ", ".join(f"{channels} channel(s) in {part}" for part, channels in kinds.items())
        raise InputError(f"data: expected images of as many channels in all parts, got {came}")
    prefixes = {part: "" if part == "train" else f"{part}_" for part in parts}
    found = {f"{prefixes[part]}images": own.images for part, own in parts.items()}
    found |= {f"{prefixes[part]}labels": own.labels for part, own in parts.items()}
    return found if class_names is None else {**found, "classes": np.array(list(class_names), dtype=str)}


def digest_of(arrays: Mapping[str, Array]) -> str:
    """A sha256, in hex, of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def keep(arrays: Mapping[str, Array], file: Path) -> None:
    """Write the file, whole or not at all; one that holds the same is left as it is.

    Raises InputError where it holds other arrays: a run that is continued has the data it began with.
    """
    if file.exists():
        with np.load(file, allow_pickle=False) as found:
            if digest_of({name: found[name] for name in found.files}) != digest_of(arrays):
                raise InputError(f"folder: {file.parent} holds a run on other images or labels; use another folder")
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as out:
            np.savez(out, **dict[str, Any](arrays))
        unfinished.replace(file)
    except BaseException:  # Ctrl-C too
        unfinished.unlink(missing_ok=True)
        raise
