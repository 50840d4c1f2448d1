"""torchvision's classification sets, read with its own classes; it is imported only when a study names one.

torchvision reads CIFAR's and other sets' original files, some of which are pickles; it compares their MD5 with the
published one before it opens them.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from nas.data.image_files import identity_of
from nas.data.paths import folder_of, no_such
from nas.data.pixels import opened
from nas.data.records import NO_GROUP, Array, Listing
from nas.data.walking import files_below, folders_in
from nas.errors import InputError
from nas.study import Data


@dataclass(frozen=True)
class KnownSet:
    """How torchvision names a set's splits and where its objects keep labels and images.

    `images` is an attribute with pixels or with file paths; `labels` None says that it holds (path, label) pairs.
    `films`: training files are <class>/<film>_<frame>; `offered`: torchvision can still fetch it.
    """

    classes: int
    argument: Literal["train", "split"]
    parts: Mapping[str, Any]
    labels: str | None
    images: str
    films: bool = False
    offered: bool = True


_BOOLEAN = {"train": True, "test": False}
_TWO = {"train": "train", "test": "test"}
_THREE = {"train": "train", "val": "val", "test": "test"}

SETS: Mapping[str, KnownSet] = {
    "CIFAR10": KnownSet(10, "train", _BOOLEAN, "targets", "data"),
    "CIFAR100": KnownSet(100, "train", _BOOLEAN, "targets", "data"),
    "MNIST": KnownSet(10, "train", _BOOLEAN, "targets", "data"),
    "FashionMNIST": KnownSet(10, "train", _BOOLEAN, "targets", "data"),
    "KMNIST": KnownSet(10, "train", _BOOLEAN, "targets", "data"),
    "USPS": KnownSet(10, "train", _BOOLEAN, "targets", "data"),
    "SVHN": KnownSet(10, "split", _TWO, "labels", "data"),
    "STL10": KnownSet(10, "split", _TWO, "labels", "data"),
    "GTSRB": KnownSet(43, "split", _TWO, None, "_samples", films=True),
    "DTD": KnownSet(47, "split", _THREE, "_labels", "_image_files"),
    "FGVCAircraft": KnownSet(100, "split", _THREE, "_labels", "_image_files"),
    "Flowers102": KnownSet(102, "split", _THREE, "_labels", "_image_files"),
    "Food101": KnownSet(101, "split", _TWO, "_labels", "_image_files"),
    "OxfordIIITPet": KnownSet(37, "split", {"train": "trainval", "test": "test"}, "_labels", "_images"),
    "RenderedSST2": KnownSet(2, "split", _THREE, None, "_samples"),
    "StanfordCars": KnownSet(196, "split", _TWO, None, "_samples", offered=False),
    "Imagenette": KnownSet(10, "split", {"train": "train", "test": "val"}, None, "_samples"),
}


@dataclass(frozen=True)
class _Part:
    """One split as torchvision opened it; `files` where its images are files, else it holds pixels."""

    source: Any
    labels: Array
    files: tuple[Path, ...] | None
    pixels: Any

    def image(self, index: int) -> Image.Image:
        if self.files is not None:
            return opened(self.files[index])
        image: Image.Image = self.source[index][0]
        return image


def list_torchvision(data: Data) -> Listing:
    """Every image of the set, its published splits as given ones."""
    assert data.dataset is not None
    known = SETS[data.dataset]
    parts = {part: _part(known, _opened(data, known, value)) for part, value in known.parts.items()}
    labels = np.concatenate([part.labels for part in parts.values()])
    names = _class_names(next(iter(parts.values())).source, known.classes)
    _check(data, labels, len(names))
    starts = np.cumsum([0, *(len(part.labels) for part in parts.values())]).tolist()
    ordered, keys = list(parts.values()), list(parts)

    def place(index: int) -> tuple[int, int]:
        at = bisect_right(starts, index) - 1
        return at, index - starts[at]

    def name(index: int) -> str:
        at, position = place(index)
        files = ordered[at].files
        return str(files[position]) if files else f"{data.dataset}, {keys[at]} image {position}"

    @cache
    def content() -> str:
        return " ".join(_content(part) for part in ordered)

    def identity(indices: Array) -> str:
        places = [place(int(index)) for index in indices]
        files = [ordered[at].files for at, _ in places]
        if all(files):
            return identity_of([own[i] for own, (_, i) in zip(files, places, strict=True) if own])
        return f"{content()} {indices.tolist()}"

    return Listing(
        names,
        labels,
        {key: np.arange(*starts[i : i + 2]) for i, key in enumerate(keys)},
        open=lambda index: ordered[place(index)[0]].image(place(index)[1]),
        name=name,
        identity=identity,
        groups=_films(parts) if known.films else None,
    )


def torchvision_classes(data: Data) -> int:
    """How many classes the set has, by its documentation."""
    assert data.dataset is not None
    return SETS[data.dataset].classes


def _opened(data: Data, known: KnownSet, value: Any) -> Any:
    """torchvision's object for one split. Raises InputError where files are missing or damaged."""
    from torchvision import datasets

    root = folder_of(data)
    if not root.is_dir() and not data.download:
        raise no_such(root, "a folder", "file")
    try:
        with _folders_listed_here():
            return getattr(datasets, str(data.dataset))(root, download=data.download, **{known.argument: value})
    except (OSError, RuntimeError, ValueError, EOFError, LookupError) as error:
        hint = "" if data.download or not known.offered else "; data.download: true would fetch it"
        raise InputError(f"data.path: {root}: torchvision finds no {data.dataset} there ({error}){hint}") from None


@contextmanager
def _folders_listed_here() -> Iterator[None]:
    """Within it torchvision lists folders as image folders are listed here: without hidden ones, each once.

    Its own functions take `.ipynb_checkpoints` for a class, which shifts every label.
    """
    from torchvision.datasets import gtsrb, imagenette, rendered_sst2

    ours = {"find_classes": find_classes, "make_dataset": make_dataset}
    modules = (gtsrb, imagenette, rendered_sst2)
    theirs = [(module, name, getattr(module, name)) for module in modules for name in ours if hasattr(module, name)]
    try:
        for module, name, _ in theirs:
            setattr(module, name, ours[name])
        yield
    finally:
        for module, name, original in theirs:
            setattr(module, name, original)


def find_classes(directory: str) -> tuple[list[str], dict[str, int]]:
    """Class folders and their numbers, in place of torchvision's function of this name."""
    names = folders_in(Path(directory))
    return names, {name: number for number, name in enumerate(names)}


def make_dataset(
    directory: str, class_to_idx: Mapping[str, int] | None = None, extensions: str | tuple[str, ...] = ()
) -> list[tuple[str, int]]:
    """(path, class number) of every image, in place of torchvision's function of this name.

    Raises FileNotFoundError where a class has none.
    """
    numbers = find_classes(directory)[1] if class_to_idx is None else class_to_idx
    endings = [f".{end.lstrip('.')}" for end in ([extensions] if isinstance(extensions, str) else extensions)]
    found = {name: files_below(Path(directory) / name, endings) for name in sorted(numbers)}
    if empty := [name for name, files in found.items() if not files]:
        raise FileNotFoundError(f"no image ({', '.join(endings)}) of the classes {', '.join(empty)} in {directory}")
    return [(str(file), numbers[name]) for name, files in found.items() for file in files]


def _part(known: KnownSet, source: Any) -> _Part:
    held = getattr(source, known.images)
    labels = [label for _, label in held] if known.labels is None else getattr(source, known.labels)
    paths = [path for path, _ in held] if known.labels is None else held
    files = tuple(Path(path) for path in paths) if isinstance(held, list) else None
    return _Part(source, np.asarray(labels, np.int64), files, None if files else held)


def _films(parts: Mapping[str, _Part]) -> Array:
    """A number per film of the training images, whose frames show one object; the others are of none."""
    files = parts["train"].files or ()
    films = [f"{file.parent.name}/{file.stem.partition('_')[0]}" for file in files]
    alone = sum(len(part.labels) for part in parts.values()) - len(films)
    return np.concatenate([np.unique(films, return_inverse=True)[1], np.full(alone, NO_GROUP)])


def _content(part: _Part) -> str:
    """A digest of the pixels: a set is the same wherever it lies and whenever it was written."""
    return hashlib.sha256(np.ascontiguousarray(np.asarray(part.pixels)).data).hexdigest()


def _class_names(source: Any, count: int) -> tuple[str, ...]:
    """torchvision's names, else numbers."""
    classes = getattr(source, "classes", ())
    names = tuple(str(name[0] if isinstance(name, tuple) else name) for name in classes)  # the first of synonyms
    return names if len(names) == count else tuple(str(label) for label in range(count))


def _check(data: Data, labels: Array, classes: int) -> None:
    if labels.min() < 0 or labels.max() >= classes:
        expected = f"labels 0 to {classes - 1}"
        raise InputError(f"data.dataset: {data.dataset}: expected {expected}, got {labels.min()} to {labels.max()}")
