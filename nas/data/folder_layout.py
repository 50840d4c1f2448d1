"""Where an image folder keeps its classes: below train/, val/ and test/, or directly; what looks so and is not."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from nas.data.decoding import SUFFIXES
from nas.data.parts import LIKE_SPLITS, SPLITS, part_named
from nas.data.paths import no_such
from nas.data.walking import folders_in, is_data
from nas.errors import InputError

WORDS_OF_SPLITS = {*LIKE_SPLITS, "eval", "evaluation", "holdout", "pred", "prediction"}
MOST_SINGLE = 4  # folders of one folder that are looked through for the classes


def parts_of(root: Path) -> dict[str, Path]:
    """The folders that hold class folders, by part; a root without train/ is one set, to be split.

    Raises InputError where there is no such folder, or where its folders are parts of a set under other names.
    """
    if not root.is_dir():
        raise no_such(root, "a folder", "file")
    parts = {split: root / split for split in SPLITS if (root / split).is_dir()}
    names = folders_in(root)
    alike = [name for name in names if name.casefold() in LIKE_SPLITS and name not in SPLITS]
    if alike and ("train" in parts or alike == names):
        raise InputError(f"data.path: expected folders named train/, val/ and test/ in {root}, got {alike[0]}/")
    if parts and "train" not in parts:
        beside = ", ".join(f"{part}/" for part in parts)
        raise InputError(f"data.path: expected a folder train/ with one folder per class in {root}, got only {beside}")
    said = {_split_said_by(name) for name in names}
    if not parts and len(said) > 1 and None not in said:
        raise InputError(_parts_by_other_names(root, names))
    return parts or {"train": root}


def class_folders(train: Path) -> tuple[str, ...]:
    """Names of the class folders, sorted. Raises InputError for fewer than two, and for names that are no text."""
    names = tuple(folders_in(train))
    if len(names) < 2:
        raise InputError(f"data.path: expected at least two class folders in {train}, got {list(names)}{_hint(train)}")
    if strange := [name for name in names if not _is_text(name)]:
        raise InputError(f"data.path: expected names of class folders in UTF-8 in {train}, got {strange[0]!r}")
    return names


def alike_inside(train: Path, names: Sequence[str]) -> str:
    """A sentence where class folders hold no images, but the same folders each, as parts of a set do; else none."""
    inside = [(folders_in(train / name), _holds_images(train / name)) for name in names]
    first = inside[0][0]
    if len(first) < 2 or any(folders != first or images for folders, images in inside):
        return ""
    return (
        f"data.path: each class folder of {train} ({_listed(names)}) holds the same folders, {_listed(first)}; "
        "are those the classes?"
    )


def _split_said_by(name: str) -> str | None:
    """The part of a set that a word of the name stands for: Final_Training, seg_test, trainSet; None for no word."""
    words = map(str.casefold, re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name))
    return next((part_named(word) or word for word in words if word in WORDS_OF_SPLITS), None)


def _parts_by_other_names(root: Path, names: Sequence[str]) -> str:
    lines = [f"{name}/ ({_inside(root / name)})" for name in names]
    return (
        f"data.path: expected class folders, or folders named train/, val/ and test/, in {root}, got what looks like "
        f"parts of a set by other names: {', '.join(lines)}; rename or link them so that train/ holds the class "
        "folders, or name the folder that holds them as data.path"
    )


def _inside(folder: Path) -> str:
    """What a folder holds, seen through folders of a single folder."""
    deep = _deepest_single(folder)
    where = "" if deep == folder else f" in {deep.relative_to(folder).as_posix()}/"
    folders = len(folders_in(deep))
    if folders:
        return f"{folders} folder{'s' if folders > 1 else ''}{where}"
    return f"images without class folders{where}" if _holds_images(deep) else f"no folders{where}"


def _hint(train: Path) -> str:
    """Where the class folders may be instead: further down, below folders of a single folder."""
    deep = _deepest_single(train)
    count = len(folders_in(deep))
    if deep != train and count > 1:
        return f"; {deep} holds {count} folders: name it as data.path"
    return "; its images lie in no class folders" if deep == train and _holds_images(train) else ""


def _deepest_single(folder: Path) -> Path:
    for _ in range(MOST_SINGLE):
        names = folders_in(folder)
        if len(names) != 1 or _holds_images(folder):
            break
        folder = folder / names[0]
    return folder


def _holds_images(folder: Path) -> bool:
    """Whether an image file lies directly in it."""
    with os.scandir(folder) as entries:
        return any(is_data(entry.name) and Path(entry.name).suffix.lower() in SUFFIXES for entry in entries)


def _is_text(name: str) -> bool:
    """Whether a file's name is text; bytes that are not UTF-8, as old archives leave them, are lone surrogates."""
    return os.fsencode(name).decode(errors="replace") == name


def _listed(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"{name}/" for name in names[:most]) + more
