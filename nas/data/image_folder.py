"""Image folders: one folder per class, either under train/, val/ and test/, or one set that is yet to be split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nas.data.class_names import names_of, renamed
from nas.data.decoding import SUFFIXES
from nas.data.folder_layout import alike_inside, class_folders, parts_of
from nas.data.image_files import header_faults, identity_of, printable
from nas.data.name_groups import NamedImage, name_groups
from nas.data.paths import folder_of
from nas.data.pixels import opened
from nas.data.records import Array, Listing
from nas.data.walking import Walk, folders_in, is_data, walk
from nas.errors import InputError
from nas.study import Data

LeftOut = defaultdict[str, list[str]]  # reason -> files and folders


def list_image_folder(data: Data) -> Listing:
    """Every image file of the folder; headers are read, pixels are not."""
    root = folder_of(data)
    parts = parts_of(root)
    class_names = class_folders(parts["train"])
    files: list[Path] = []
    labels: list[int] = []
    given: dict[str, Array] = {}
    left_out = _beside(root, parts, class_names)
    for split, folder in parts.items():
        start = len(files)
        for label, found in enumerate(_list_split(folder, class_names)):
            files += found.files
            labels += [label] * len(found.files)
            _note(left_out, root, found)
        given[split] = np.arange(start, len(files))
    groups, notes = None, [note] if (note := alike_inside(parts["train"], class_names)) else []
    if data.group_pattern is not None:
        named = _named(parts, files, [class_names[label] for label in labels])
        groups, words = name_groups(named, data.group_pattern, scope=data.group_scope)
        notes.append(words)
    return Listing(
        renamed(class_names, names_of(data)),
        np.asarray(labels, np.int64),
        given,
        open=lambda index: opened(files[index]),
        name=lambda index: printable(files[index]),
        identity=lambda indices: identity_of([files[i] for i in indices]),
        groups=groups,
        faults=header_faults(files, remembered=data.cache),
        left_out={reason: tuple(names) for reason, names in left_out.items()},
        notes=tuple(notes),
    )


def class_names_in(data: Data) -> tuple[str, ...]:
    """The class folders of an image folder, sorted."""
    return class_folders(parts_of(folder_of(data))["train"])


def _list_split(folder: Path, class_names: Sequence[str]) -> list[Walk]:
    """What lies in each class folder of a part."""
    if strangers := sorted({*folders_in(folder)} - {*class_names}):
        raise InputError(f"data.path: {folder} holds classes that train/ does not: {', '.join(strangers)}")
    walks = []
    for name in class_names:
        inside = folder / name
        found = walk(inside, SUFFIXES) if inside.is_dir() else Walk([], [], [])
        if not found.files:
            raise InputError(f"data.path: no image ({', '.join(SUFFIXES)}) of class {name!r} in {folder}")
        walks.append(found)
    return walks


def _beside(root: Path, parts: Mapping[str, Path], class_names: Sequence[str]) -> LeftOut:
    """What lies beside the folders that are read: in the root and, below it, in each part."""
    left_out = LeftOut(list)
    for folder in dict.fromkeys([root, *parts.values()]):
        read = {*class_names} if folder in parts.values() else {*parts}
        entries = sorted(folder.iterdir())
        _note(left_out, root, Walk([], [], [entry for entry in entries if not is_data(entry.name)]))
        for entry in entries:
            if is_data(entry.name) and entry.name not in read:
                left_out[_kind_of(entry)].append(_below(root, entry))
    return left_out


def _kind_of(entry: Path) -> str:
    if entry.is_dir():
        return "folders beside the parts"
    is_image = entry.suffix.lower() in SUFFIXES
    return "images in no class folder" if is_image else "files beside the folders that are read"


def _note(left_out: LeftOut, root: Path, found: Walk) -> None:
    for entry in found.hidden:
        left_out["hidden, or made by a system"].append(_below(root, entry))
    for file in found.others:
        left_out[f"no image by its suffix ({file.suffix.lower() or 'none'})"].append(_below(root, file))


def _below(root: Path, entry: Path) -> str:
    return printable(entry.relative_to(root) if entry.is_relative_to(root) else entry)


def _named(parts: Mapping[str, Path], files: Sequence[Path], classes: Sequence[str]) -> list[NamedImage]:
    """Every file by its path below its class folder; those of val/ and test/ need no group."""
    named = []
    for file, name in zip(files, classes, strict=True):
        part, root = next((part, folder / name) for part, folder in parts.items() if file.is_relative_to(folder / name))
        named.append(NamedImage(file.relative_to(root).as_posix(), name, printable(file), part == "train"))
    return named
