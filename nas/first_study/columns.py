"""Which column of a table of labels holds what, by its name and its values, and where the files lie."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, product
from pathlib import Path

from nas.data.csv_table import records_of
from nas.data.decoding import SUFFIXES
from nas.data.parts import part_named
from nas.data.paths import expanded
from nas.data.walking import folders_in
from nas.errors import InputError
from nas.first_study.choices import Choice

# Usual names, in lower case and without what is neither a letter nor a digit.
USUAL: Mapping[str, Sequence[str]] = {
    "image": ("image", "file", "filename", "filepath", "path", "imagepath", "imagefile", "imageid", "img", "id"),
    "label": (
        "label", "labels", "class", "classname", "classid", "category", "target", "diagnosis", "species", "breed", "y",
    ),
    "split": ("split", "subset", "set", "partition"),
    "group": (
        "group", "groupid", "patient", "patientid", "subject", "subjectid", "person", "personid", "case", "caseid",
        "video", "videoid", "film", "scene", "sceneid", "lesionid",
    ),
}  # fmt: skip
ROWS, LOOKED_UP = 5000, 50
FOUND = 0.9  # of the files that are looked up, where a folder is the right one


@dataclass(frozen=True)
class Table:
    """Names of the columns, and the first rows as far as they are whole."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def values(self, name: str) -> list[str]:
        place = self.header.index(name)
        return [row[place] for row in self.rows]


def choose_columns(given: str, asked: Mapping[str, str], *, asked_root: str | None = None) -> list[Choice]:
    """`columns` and `root` of a table where they are not what they are by default.

    asked, asked_root: columns and folder that the user named. Raises InputError where it cannot be told which column
    is the image or the class, or no file is found.
    """
    table = _read(expanded(given, "data.path"))
    if not table.rows:  # none is whole: the listing names them
        return []
    folder, image = _files(table, asked.get("image"), asked_root)
    root = folder and str(Path(given).parent / folder)  # as it was given, like the table
    taken = {image}
    names = {"image": image}
    for kind in ("split", "group", "label"):
        name = asked.get(kind) or _guessed(table, kind, taken)
        if name is not None:
            names[kind] = name
            taken.add(name)
    if "label" not in names:
        raise _unclear(table, "label", "names the class")
    own = {kind: names[kind] for kind in USUAL if kind in names and names[kind] != kind}
    said = ", ".join(f"{kind} {name!r}" for kind, name in names.items())
    return [
        *([Choice("data.columns", own, f"Columns as they are understood: {said}.")] if own else []),
        *([Choice("data.root", root, "The folder that the table's files are in.")] if root else []),
    ]


def _read(path: Path) -> Table:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, got byte 0x{error.object[error.start]:02x}") from None
    records = [cells for _, cells in islice(records_of(path, text), ROWS + 1)]
    header, *rows = records or [[]]
    if not header or not rows:
        raise InputError(f"{path}: expected one row per image below the names of the columns, got {len(rows)} rows")
    return Table(path, tuple(header), tuple(tuple(row) for row in rows if len(row) == len(header)))


def _files(table: Table, asked: str | None, asked_root: str | None) -> tuple[str | None, str]:
    """The folder beside the table that holds the files, None for its own or the one asked for, and their column.

    Where some files are missing, the listing names them.
    """
    here = table.path.parent if asked_root is None else expanded(asked_root, "data.root")
    columns = [asked] if asked else sorted(table.header, key=lambda name: _plain(name) not in USUAL["image"])
    beside = [] if asked_root else [here / name for name in folders_in(here)]
    best, found = 0.0, None
    for folder, name in product((here, *beside), (name for name in columns if name in table.header)):
        share = _share_found(folder, table.values(name))
        if share > best:
            best, found = share, (folder, name)
        if share >= FOUND:
            break
    if found is not None:
        return None if found[0] == here else found[0].name, found[1]
    usual = next((name for name in columns if asked or _plain(name) in USUAL["image"]), None)
    if usual is None:
        raise _unclear(table, "image", "names the files")
    raise InputError(
        f"{table.path}: none of the files that column {usual!r} names is in {here} or a folder in it; "
        f"say where they are: nas init {table.path} data.root=FOLDER"
    )


def _share_found(folder: Path, values: Sequence[str]) -> float:
    """Of some of the values, the share that name files in the folder, with or without suffix.

    Unlike Path's, os.path's functions also answer for text that is too long for a name.
    """
    some = values[:: max(1, len(values) // LOOKED_UP)]
    found = [
        os.path.isfile(folder / value) or Path(value).name in _stems((folder / value).parent) for value in some if value
    ]
    return sum(found) / max(1, len(some))


@cache
def _stems(folder: Path) -> frozenset[str]:
    """Names of the images of a folder, without suffix."""
    if not os.path.isdir(folder):
        return frozenset()
    return frozenset(file.stem for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)


def _guessed(table: Table, kind: str, taken: set[str]) -> str | None:
    """The column of a usual name whose values may be of this kind; a class may also be the only one that repeats."""
    free = [name for name in table.header if name not in taken]
    for name in sorted((name for name in free if _plain(name) in USUAL[kind]), key=lambda name: name != kind):
        if _may_be(kind, table.values(name)):
            return name
    others = [name for name in free if _may_be(kind, table.values(name))] if kind == "label" else []
    return others[0] if len(others) == 1 else None


def _may_be(kind: str, values: Sequence[str]) -> bool:
    distinct = len(set(values))
    if kind == "split":
        return all(part_named(value) for value in values)
    return 1 < distinct < len(values)


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _unclear(table: Table, kind: str, what: str) -> InputError:
    columns = ", ".join(map(repr, table.header))
    return InputError(
        f"{table.path}: cannot tell which column {what}, among {columns}; say so: "
        f"nas init {table.path} data.columns.{kind}=NAME"
    )
