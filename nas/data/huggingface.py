"""Image sets of Hugging Face's `datasets` that lie on disk: saved by `save_to_disk`, or as Parquet files."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nas.data.arrow_files import SUFFIXES, Part, read_parts
from nas.data.bad_rows import refuse_rows
from nas.data.class_names import class_table, means_no_class, names_of
from nas.data.column_groups import group_numbers, in_common
from nas.data.image_files import identity_of, opened_bytes, printable
from nas.data.parts import check_parts
from nas.data.paths import folder_of
from nas.data.pixels import opened
from nas.data.records import Array, Listing
from nas.data.walking import files_below
from nas.errors import InputError
from nas.study import Data

OTHERS = "files of no part (train, val or test)"
USUAL = {"image": ("image", "img"), "label": ("label", "labels")}


@dataclass(frozen=True)
class _Classified:
    """The parts of a set, its classes, and the class of every image by part."""

    parts: Mapping[str, Part]
    class_names: tuple[str, ...]
    labels: Mapping[str, Array]


def list_huggingface(data: Data) -> Listing:
    """Every row of train, val and test, in the order of the files; pictures are not read."""
    root = folder_of(data)
    found = _classified(data)
    parts = list(found.parts.values())
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    given = {part: np.arange(*starts[i : i + 2]) for i, part in enumerate(found.parts)}
    labels = np.concatenate(list(found.labels.values()))
    check_parts(given, labels, found.class_names, str(root))
    pictures = [part.picker(_column(root, part, data, "image")) for part in parts]
    names = list(found.parts)

    def place(index: int) -> tuple[int, int]:
        at = bisect_right(starts, index) - 1
        return at, index - starts[at]

    def image(index: int) -> Image.Image:
        at, row = place(index)
        return _picture(pictures[at](row), root)

    def name(index: int) -> str:
        at, row = place(index)
        return f"{root}: {names[at]} row {row}"

    files, groups = [file for part in parts for file in part.files], _groups(data, root, parts)
    others = sorted({*files_below(root, SUFFIXES)} - {*files})
    return Listing(
        found.class_names,
        labels,
        given,
        open=image,
        name=name,
        identity=lambda indices: f"{identity_of(files)} {data.columns.image} {indices.tolist()}",
        groups=groups,
        left_out={OTHERS: tuple(printable(file.relative_to(root)) for file in others)} if others else {},
        notes=() if groups is None else (in_common(data),),
        key=lambda index: "/".join([names[place(index)[0]], str(place(index)[1])]),
    )


def huggingface_class_names(data: Data) -> tuple[str, ...]:
    """The names of a ClassLabel column, else the distinct labels, or the names in the file that the study names."""
    return _classified(data).class_names


def _classified(data: Data) -> _Classified:
    root = folder_of(data)
    parts = read_parts(root)
    values = {key: part.values(_column(root, part, data, "label")) for key, part in parts.items()}
    empty = [
        f"{key} row {row}: no label" for key, own in values.items() for row, value in enumerate(own) if value is None
    ]
    refuse_rows(root, empty)
    texts = {key: [_text(value) for value in own] for key, own in values.items()}
    names, classes = class_table(
        {text for own in texts.values() for text in own}, names_of(data) or _class_label(root, parts, data)
    )
    refuse_rows(
        root,
        [
            f"{key} row {row}: {means_no_class(text, names)}"
            for key, own in texts.items()
            for row, text in enumerate(own)
            if text not in classes
        ],
    )
    if len(names) < 2:
        raise InputError(f"data.path: {root}: expected at least two classes, got {list(names)}")
    labels = {key: np.array([classes[text] for text in own], np.int64) for key, own in texts.items()}
    return _Classified(parts, names, labels)


def _class_label(root: Path, parts: Mapping[str, Part], data: Data) -> tuple[str, ...] | None:
    """The names that `datasets` recorded for the label column of the first part."""
    part = next(iter(parts.values()))
    feature = part.features.get(_column(root, part, data, "label"), {})
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if names else None


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _column(root: Path, part: Part, data: Data, kind: str) -> str:
    """The name of the column of images or labels. Raises InputError where there is none."""
    asked = getattr(data.columns, kind)
    known = (asked,) if asked else USUAL[kind]
    if name := next((name for name in known if name in part.columns), None):
        return name
    raise InputError(
        f"data.columns.{kind}: expected a column {' or '.join(map(repr, known))} in {root}, got "
        f"{', '.join(map(repr, part.columns))}"
    )


def _picture(value: Any, root: Path) -> Image.Image:
    """A picture as `datasets` keeps it: {bytes, path}, or bytes. Raises ValueError for anything else."""
    content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if isinstance(content, bytes):
        return opened_bytes(content)
    if isinstance(path, str):
        return opened(root / path)
    raise ValueError(f"expected a picture's bytes or path, got {type(value).__name__}")


def _groups(data: Data, root: Path, parts: list[Part]) -> Array | None:
    name = data.columns.group or "group"
    having = [name in part.columns for part in parts]
    if data.columns.group and not having[0]:
        raise InputError(f"data.columns.group: expected a column {name!r} in {root}, got {', '.join(parts[0].columns)}")
    if not having[0]:
        return None
    groups: list[str | None] = []
    for part, own in zip(parts, having, strict=True):
        values = part.values(name) if own else [None] * len(part)
        groups += ["" if value is None else str(value) for value in values]
    if empty := groups[: len(parts[0])].count(""):
        raise InputError(f"data.columns.group: expected a group of every training image in {root}, got {empty} without")
    return group_numbers(groups)
