"""Data sets and the fixed train / validation / test split. Images are decoded once into uint8 arrays (N, C, H, W).

The canonical order of a data set is its training files, then validation, then test, each sorted by class and name;
split.json holds indices into it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from nas.errors import InputError
from nas.study import Data

Array = np.ndarray[Any, Any]
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp", ".tif", ".tiff")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Images:
    """Labelled images: uint8 (N, C, H, W) and int64 (N,)."""

    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: slice | Array) -> Images:
        return Images(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Split:
    """Indices in the canonical order; train is what neither validation nor test holds."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]

    def to_json(self) -> str:
        return json.dumps({"validation": self.validation, "test": self.test})


@dataclass(frozen=True)
class DataSet:
    """Train and validation images in memory; the test images are read only when asked for."""

    class_names: tuple[str, ...]
    train: Images
    validation: Images
    split: Split
    load_test: Callable[[], Images]

    @cached_property
    def mean_std(self) -> tuple[float, float]:
        """Mean and standard deviation over all channels of the training pixels in [0, 1]."""
        sample = self.train.images[:: max(1, len(self.train) // 5000)]
        return float(sample.mean() / 255), float(sample.std() / 255) or 1.0


@dataclass(frozen=True)
class _Listing:
    """Every image of a data set in canonical order: its label, its split, and how to read some of them."""

    class_names: tuple[str, ...]
    labels: Array
    given: dict[str, Array]
    read: Callable[[Array], Array]


def load(data: Data, *, input_size: int, seed: int) -> DataSet:
    """Read what a study names. Raises InputError where the data cannot serve: missing, one class, unreadable ..."""
    listing = {"digits": _digits, "image_folder": _image_folder}[data.source](data, input_size)
    split = _split(listing, data, seed)

    def images(indices: tuple[int, ...]) -> Images:
        where = np.asarray(indices)
        return Images(listing.read(where), listing.labels[where])

    train, validation = images(split.train), images(split.validation)
    return DataSet(listing.class_names, train, validation, split, partial(images, split.test))


def _digits(data: Data, input_size: int) -> _Listing:
    table = _scans()
    pixels = np.round(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)

    def read(indices: Array) -> Array:
        resized = [_fit(Image.fromarray(pixels[i]), data.input_channels, input_size) for i in indices]
        return np.stack(resized)

    names = tuple(str(digit) for digit in range(10))
    return _Listing(names, table[:, -1].astype(np.int64), {"train": np.arange(len(pixels))}, read)


def _scans() -> Array:
    """scikit-learn's table (1797, 64 pixels and the label), read where it is installed.

    Importing scikit-learn for it takes each worker longer than everything else but torch.
    """
    spec = importlib.util.find_spec("sklearn")
    for place in spec.submodule_search_locations or () if spec else ():
        file = Path(place) / "datasets" / "data" / "digits.csv.gz"
        if file.exists():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.column_stack([digits.data, digits.target])


def _image_folder(data: Data, input_size: int) -> _Listing:
    train = _train_folder(data)
    root, class_names = train.parent, _class_names(train)
    files: list[Path] = []
    labels: list[int] = []
    given: dict[str, Array] = {}
    for split in SPLITS:
        if (root / split).is_dir():
            start = len(files)
            _list_split(root / split, class_names, files, labels)
            given[split] = np.arange(start, len(files))
    read = partial(_read_files, files, data.input_channels, input_size)
    _check_headers(files)
    return _Listing(class_names, np.asarray(labels, np.int64), given, read)


def class_count(data: Data) -> int:
    """How many classes a study has, without reading an image."""
    return 10 if data.source == "digits" else len(_class_names(_train_folder(data)))


def _train_folder(data: Data) -> Path:
    root = folder_of(data)
    if not root.is_dir():
        raise InputError(f"data.path: expected a folder, got {str(root)!r}, which does not exist or is a file")
    if not (root / "train").is_dir():
        raise InputError(f"data.path: expected a folder train/ with one folder per class in {root}")
    return root / "train"


def folder_of(data: Data) -> Path:
    """The folder of an image_folder study; `~` and environment variables are resolved."""
    assert data.path is not None
    text = os.path.expandvars(os.path.expanduser(data.path))
    if "$" in text:
        raise InputError(f"data.path: {data.path!r} names an environment variable that is not set")
    return Path(text)


def _class_names(train: Path) -> tuple[str, ...]:
    names = tuple(_folders_in(train))
    if len(names) < 2:
        raise InputError(f"data.path: expected at least two class folders in {train}, got {list(names)}")
    return names


def _folders_in(folder: Path) -> list[str]:
    """Names of its folders, sorted; hidden ones (.ipynb_checkpoints ...) are no classes."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")


def _list_split(folder: Path, class_names: Sequence[str], files: list[Path], labels: list[int]) -> None:
    strangers = [name for name in _folders_in(folder) if name not in class_names]
    if strangers:
        raise InputError(f"data.path: {folder} holds classes that train/ does not: {', '.join(strangers)}")
    for label, name in enumerate(class_names):
        inside = folder / name
        found = sorted(p for p in inside.rglob("*") if p.suffix.lower() in SUFFIXES) if inside.is_dir() else []
        if not found:
            raise InputError(f"data.path: no image ({', '.join(SUFFIXES)}) of class {name!r} in {folder}")
        files += found
        labels += [label] * len(found)


def _check_headers(files: Sequence[Path]) -> None:
    """Open every file far enough to see that it is an image, before any work starts."""
    with ThreadPoolExecutor(8) as pool:
        _raise_faults([fault for fault in pool.map(_header_fault, files, chunksize=256) if fault])


def _header_fault(file: Path) -> str | None:
    try:
        with Image.open(file):
            return None
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        return f"{file}: {_reason(error)}"


def _reason(error: Exception) -> str:
    return "not an image" if isinstance(error, UnidentifiedImageError) else str(error)


def _raise_faults(faults: Sequence[str]) -> None:
    if faults:
        shown = "\n  ".join(faults[:5])
        more = f"\n  and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise InputError(f"data.path: {len(faults)} unreadable image file(s):\n  {shown}{more}")


def _read_files(files: Sequence[Path], channels: int, size: int, indices: Array) -> Array:
    """Decode some files, or map an earlier decoding of the same files into memory."""
    chosen = [files[i] for i in indices]
    cached = cache_folder() / f"{_content_key(chosen, channels, size)}.npy"
    with suppress(OSError, ValueError, EOFError):  # not there, or torn by a crash of the machine
        return _mapped(cached)
    decoded = _decode(chosen, channels, size)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        unfinished = cached.with_suffix(f".{os.getpid()}.tmp")
        with unfinished.open("wb") as out:
            np.save(out, decoded)
        unfinished.replace(cached)
        return _mapped(cached)
    except OSError:
        return decoded  # a cache that cannot be written only costs time


def _mapped(cached: Path) -> Array:
    """A decoded set shared by all processes that map it; copy on write, so that torch may wrap it."""
    array: Array = np.load(cached, mmap_mode="c", allow_pickle=False)
    return array


def cache_folder() -> Path:
    """Where decoded images are kept: COMPACT_NAS_CACHE, or compact-nas in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("COMPACT_NAS_CACHE") or f"{base}/compact-nas").expanduser()


def _content_key(files: Sequence[Path], channels: int, size: int) -> str:
    digest = hashlib.sha256(f"{channels} {size}".encode())
    for file in files:
        stat = file.stat()
        digest.update(f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def _decode(files: Sequence[Path], channels: int, size: int) -> Array:
    def one(file: Path) -> Array | str:
        try:
            with Image.open(file) as image:
                return _fit(image, channels, size)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            return f"{file}: {_reason(error)}"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(one, files, chunksize=64))
    _raise_faults([result for result in results if isinstance(result, str)])
    return np.stack([result for result in results if not isinstance(result, str)])


def _fit(image: Image.Image, channels: int, size: int) -> Array:
    """One image as uint8 (C, size, size), stretched where its shape differs."""
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    array = np.asarray(image, np.uint8)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def _split(listing: _Listing, data: Data, seed: int) -> Split:
    """Given splits as they are; a missing one is cut from train, stratified and seeded."""
    random = np.random.default_rng(seed)
    train = listing.given["train"]
    parts: dict[str, Array] = {}
    total = len(train)
    for name, fraction in (("test", data.test), ("val", data.validation)):
        if name in listing.given:
            parts[name] = listing.given[name]
        elif fraction == 0:
            raise InputError(f"data.{'validation' if name == 'val' else name}: 0, and the data has no {name}/ split")
        else:
            parts[name], train = _cut(train, listing, fraction * total / len(train), random)
    if data.train_images is not None:
        if data.train_images > len(train):
            raise InputError(f"data.train_images: expected at most {len(train)}, got {data.train_images}")
        if data.train_images < len(train):
            train, _ = _cut(train, listing, data.train_images / len(train), random)
    return Split(*(tuple(sorted(part.tolist())) for part in (train, parts["val"], parts["test"])))


def _cut(indices: Array, listing: _Listing, fraction: float, random: np.random.Generator) -> tuple[Array, Array]:
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
