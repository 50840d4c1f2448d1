"""Images named by a table: one row per file, with its class and perhaps its part of the split and its group."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas.data.bad_rows import refuse_rows
from nas.data.class_names import class_table, means_no_class, names_of
from nas.data.column_groups import group_numbers, in_common
from nas.data.csv_table import Row, read_rows
from nas.data.decoding import SUFFIXES
from nas.data.image_files import header_faults, identity_of, printable
from nas.data.parts import SPLITS, check_parts
from nas.data.paths import expanded, folder_of, no_such
from nas.data.pixels import opened
from nas.data.records import Listing
from nas.errors import InputError
from nas.study import Data


def list_csv(data: Data) -> Listing:
    """Every row of the table, by part and then in its order; headers are read, pixels are not."""
    table = folder_of(data)
    class_names, classes, rows = _classified(data)
    has_parts = any(row.part for row in rows)
    rows = sorted(rows, key=lambda row: SPLITS.index(row.part)) if has_parts else rows
    files = _files(_root(data, table), rows)
    labels = np.array([classes[row.label] for row in rows], np.int64)
    parts = np.array([row.part or "train" for row in rows])
    given = {part: np.flatnonzero(parts == part) for part in SPLITS if (parts == part).any()}
    check_parts(given, labels, class_names, str(table))
    groups = group_numbers([row.group for row in rows])
    return Listing(
        class_names,
        labels,
        given,
        open=lambda index: opened(files[index]),
        name=lambda index: f"{printable(files[index])} (line {rows[index].line})",
        identity=lambda indices: identity_of([files[i] for i in indices]),
        groups=groups,
        faults=header_faults(files, remembered=data.cache),
        notes=() if groups is None else (in_common(data),),
        key=lambda index: rows[index].image,
    )


def csv_class_names(data: Data) -> tuple[str, ...]:
    """The distinct labels of the table, or the names in the file that the study names."""
    return _classified(data)[0]


def _classified(data: Data) -> tuple[tuple[str, ...], dict[str, int], list[Row]]:
    """Names, class of every label, rows. Raises InputError where a label means no class, or there is only one."""
    path, rows, names = folder_of(data), read_rows(data), names_of(data)
    class_names, classes = class_table({row.label for row in rows}, names)
    unknown = (row for row in rows if row.label not in classes)
    refuse_rows(path, [f"line {row.line}: {means_no_class(row.label, class_names)}" for row in unknown])
    if len(class_names) < 2:
        raise InputError(f"data.path: {path}: expected at least two classes, got {list(class_names)}")
    return class_names, dict(classes), rows


def _root(data: Data, table: Path) -> Path:
    if data.root is None:
        return table.parent
    root = expanded(data.root, "data.root")
    if not root.is_dir():
        raise no_such(root, "a folder", "file", key="data.root")
    return root


def _files(root: Path, rows: Sequence[Row]) -> list[Path]:
    """The file of every row: as it is written or, where it has no image's suffix, the image of that name."""
    files = [root / row.image for row in rows]
    bare = {file.parent for file in files if file.suffix.lower() not in SUFFIXES}
    images = {folder: _images_in(folder) for folder in bare}
    return [file.with_name(images.get(file.parent, {}).get(file.name, file.name)) for file in files]


def _images_in(folder: Path) -> dict[str, str]:
    """Image files of a folder by their names without suffix; none for a name that no folder can have."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return {Path(name).stem: name for name in names if Path(name).suffix.lower() in SUFFIXES}
