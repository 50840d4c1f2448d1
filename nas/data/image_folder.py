"""Image folders: one folder per class, either under train/, val/ and test/, or one set that is yet to be split."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from nas.data.cache import is_marked, key_of, set_mark
from nas.data.decoding import SUFFIXES, UNREADABLE, reason_of
from nas.data.paths import folder_of, no_such
from nas.data.pixels import opened
from nas.data.records import Array, Listing
from nas.data.walking import files_below, folders_in
from nas.errors import InputError
from nas.study import Data

SPLITS = ("train", "val", "test")
LIKE_SPLITS = {*SPLITS, "training", "valid", "validation", "dev", "testing"}


def list_image_folder(data: Data) -> Listing:
    """Every image file of the folder; headers are read, pixels are not."""
    parts = _parts(data)
    class_names = _class_names(parts["train"])
    files: list[Path] = []
    labels: list[int] = []
    given: dict[str, Array] = {}
    for split, folder in parts.items():
        start = len(files)
        _list_split(folder, class_names, files, labels)
        given[split] = np.arange(start, len(files))
    return Listing(
        class_names,
        np.asarray(labels, np.int64),
        given,
        open=lambda index: opened(files[index]),
        name=lambda index: os.fsencode(files[index]).decode(errors="replace"),
        identity=lambda indices: identity_of([files[i] for i in indices]),
        groups=_groups(data.group_pattern, parts, files, [class_names[label] for label in labels]),
        faults=_header_faults(files, remembered=data.cache),
    )


def class_names_in(data: Data) -> tuple[str, ...]:
    """The class folders of an image folder, sorted."""
    return _class_names(_parts(data)["train"])


def identity_of(files: Sequence[Path]) -> str:
    """What decoding these files depends on: their places, sizes and times of change, which nothing sets back."""
    return "\n".join(f"{os.path.abspath(file)} {_state_of(file)}" for file in files)


def _state_of(file: Path) -> str:
    try:
        stat = file.stat()
    except OSError as error:  # a link to nowhere, say: an unreadable image like any other
        return str(error.strerror)
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def _parts(data: Data) -> dict[str, Path]:
    """The folders that hold class folders, by part; a root without train/ is one set, to be split."""
    root = folder_of(data)
    if not root.is_dir():
        raise no_such(root, "a folder", "file")
    parts = {split: root / split for split in SPLITS if (root / split).is_dir()}
    alike = [name for name in folders_in(root) if name.casefold() in LIKE_SPLITS and name not in SPLITS]
    if alike and ("train" in parts or alike == folders_in(root)):
        raise InputError(f"data.path: expected folders named train/, val/ and test/ in {root}, got {alike[0]}/")
    if parts and "train" not in parts:
        beside = ", ".join(f"{part}/" for part in parts)
        raise InputError(f"data.path: expected a folder train/ with one folder per class in {root}, got only {beside}")
    return parts or {"train": root}


def _class_names(train: Path) -> tuple[str, ...]:
    names = tuple(folders_in(train))
    if len(names) < 2:
        raise InputError(f"data.path: expected at least two class folders in {train}, got {list(names)}")
    if strange := [name for name in names if not _is_text(name)]:
        raise InputError(f"data.path: expected names of class folders in UTF-8 in {train}, got {strange[0]!r}")
    return names


def _is_text(name: str) -> bool:
    """Whether a file's name is text; bytes that are not UTF-8, as old archives leave them, are lone surrogates."""
    return os.fsencode(name).decode(errors="replace") == name


def _list_split(folder: Path, class_names: Sequence[str], files: list[Path], labels: list[int]) -> None:
    strangers = [name for name in folders_in(folder) if name not in class_names]
    if strangers:
        raise InputError(f"data.path: {folder} holds classes that train/ does not: {', '.join(strangers)}")
    for label, name in enumerate(class_names):
        inside = folder / name
        found = files_below(inside, SUFFIXES) if inside.is_dir() else []
        if not found:
            raise InputError(f"data.path: no image ({', '.join(SUFFIXES)}) of class {name!r} in {folder}")
        files += found
        labels += [label] * len(found)


def _header_faults(files: Sequence[Path], *, remembered: bool) -> dict[int, str]:
    """Open every file far enough to see whether it is an image, before any work starts; once, where all are."""
    mark = key_of(f"headers\n{identity_of(files)}")
    if remembered and is_marked(mark):
        return {}
    with ThreadPoolExecutor(8) as pool:
        faults = {index: fault for index, fault in enumerate(pool.map(_header_fault, files)) if fault}
    if remembered and not faults:
        set_mark(mark)
    return faults


def _header_fault(file: Path) -> str | None:
    try:
        with Image.open(file):
            return None
    except UNREADABLE:
        pass  # damaged metadata may be all that is wrong
    try:
        opened(file).close()
    except UNREADABLE as error:
        return reason_of(error)
    return None


def _groups(
    pattern: str | None, parts: Mapping[str, Path], files: Sequence[Path], classes: Sequence[str]
) -> Array | None:
    """A number per file for what the pattern finds in its path below the class folder."""
    if pattern is None:
        return None
    regex = re.compile(pattern)
    roots = {name: [folder / name for folder in parts.values()] for name in set(classes)}
    keys = [_group_key(regex, file, roots[name]) for file, name in zip(files, classes, strict=True)]
    return np.unique(np.array(keys), return_inverse=True)[1]


def _group_key(regex: re.Pattern[str], file: Path, roots: Sequence[Path]) -> str:
    inside = next(file.relative_to(root).as_posix() for root in roots if file.is_relative_to(root))
    found = regex.search(inside)
    key = None if found is None else found[1] if regex.groups else found[0]
    if key is None:
        raise InputError(
            f"data.group_pattern: expected {regex.pattern!r} to match every file, got {inside!r} in {file}"
        )
    return key
