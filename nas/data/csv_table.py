"""A table of image files and their classes, and what is wrong with its rows: each is named by its line."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.data.bad_rows import refuse_rows
from nas.data.parts import part_named
from nas.data.paths import folder_of, no_such
from nas.errors import InputError
from nas.study import Data

DELIMITERS = ",;\t"
KINDS = ("image", "label", "split", "group")
NEEDED = ("image", "label")


@dataclass(frozen=True)
class Row:
    """One image: its file with / between folders, its label, the part it belongs to ("" without such a column).

    group: None without such a column, "" where the row is of no group.
    """

    line: int
    image: str
    label: str
    part: str
    group: str | None


def read_rows(data: Data) -> list[Row]:
    """Every row of the table. Raises InputError where it is none, lacks a column or has bad rows."""
    path = folder_of(data)
    if not path.is_file():
        raise no_such(path, "a .csv file", "folder")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"data.path: {path}: expected UTF-8 text, got byte 0x{error.object[error.start]:02x}"
        ) from None
    lines = records_of(path, text)
    header = next(lines, (1, []))[1]
    places = _places(path, header, data)
    rows, problems = list[Row](), list[str]()
    for line, cells in lines:
        if not any(cells):
            continue
        row = _row(line, cells, len(header), places)
        if isinstance(row, Row):
            rows.append(row)
        else:
            problems.append(row)
    refuse_rows(path, [*problems, *_repeated(rows)])
    if not rows:
        raise InputError(f"data.path: {path}: expected one row per image below the names of the columns, got none")
    return rows


def records_of(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every record; the delimiter is the one that the first line has most of."""
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=first.count), strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, [cell.strip() for cell in cells]
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"data.path: {path}: line {line}: {error}") from None


def _places(path: Path, header: Sequence[str], data: Data) -> dict[str, int]:
    """Which column holds what. Raises InputError where one is missing or twice there."""
    asked = {kind: getattr(data.columns, kind) for kind in KINDS}
    names = {kind: name or kind for kind, name in asked.items()}
    present = ", ".join(map(repr, header)) or "an empty line"
    places = {}
    for kind, name in names.items():
        if header.count(name) > 1:
            raise InputError(f"data.path: {path}: line 1: expected one column {name!r}, got {header.count(name)}")
        if name in header:
            places[kind] = header.index(name)
        elif kind in NEEDED or asked[kind]:
            raise InputError(f"data.columns.{kind}: expected a column {name!r} in {path}, got {present}")
    return places


def _row(line: int, cells: Sequence[str], width: int, places: dict[str, int]) -> Row | str:
    """The row, or what is wrong with it."""
    if len(cells) != width:
        return f"line {line}: expected {width} cells, got {len(cells)}"
    values = {kind: cells[place] for kind, place in places.items()}
    part = part_named(values["split"]) if "split" in values else ""
    free = ("group",) if part in ("val", "test") else ()  # as files of given parts need no group
    if empty := [kind for kind, value in values.items() if not value and kind not in free]:
        return f"line {line}: no {' and no '.join(empty)}"
    if part is None:
        return f"line {line}: expected split train, val or test, got {values['split']!r}"
    image = posixpath.normpath(values["image"].replace("\\", "/"))
    if posixpath.basename(image) in ("", ".", ".."):
        return f"line {line}: expected a file, got {values['image']!r}"
    return Row(line, image, values["label"], part, values.get("group"))


def _repeated(rows: Sequence[Row]) -> Iterator[str]:
    """An image stands in one row: with two it would be in two parts of the split, or of two classes."""
    first: dict[str, Row] = {}
    for row in rows:
        known = first.setdefault(row.image, row)
        if known is not row:
            yield f"line {row.line}: {row.image!r} stands in line {known.line} already"
