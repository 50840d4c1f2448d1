"""Arrow and Parquet files that Hugging Face's `datasets` leaves on disk, read piece by piece; nothing is unpickled."""

from __future__ import annotations

import importlib.util
import json
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from nas.data.parts import SPLITS, part_named
from nas.data.paths import no_such
from nas.data.walking import files_below
from nas.errors import InputError

SUFFIXES = (".arrow", ".parquet")
PIECES_IN_MEMORY = 8  # row groups of Parquet files: images are read in order, by a few threads


@dataclass(frozen=True)
class Piece:
    """Rows that are read at once: a batch of an Arrow file, mapped into memory, or a row group of a Parquet file."""

    rows: int
    read: Callable[[str], Any]  # one column


@dataclass(frozen=True)
class Part:
    """One split: its files, their columns with types, and what `datasets` wrote about the columns."""

    files: tuple[Path, ...]
    pieces: tuple[Piece, ...]
    schema: Any

    def __len__(self) -> int:
        return sum(piece.rows for piece in self.pieces)

    @property
    def columns(self) -> list[str]:
        return list(self.schema.names)

    @property
    def features(self) -> Mapping[str, Any]:
        """What `datasets` says of each column: {"_type": "ClassLabel", "names": [...]}."""
        written = (self.schema.metadata or {}).get(b"huggingface", b"{}")
        features: Mapping[str, Any] = json.loads(written).get("info", {}).get("features", {})
        return features

    def values(self, column: str) -> list[Any]:
        """A whole column as Python's objects."""
        return [value for piece in self.pieces for value in piece.read(column).to_pylist()]

    def picker(self, column: str) -> Callable[[int], Any]:
        """A function from a row to its value in a column."""
        starts = np.cumsum([0, *(piece.rows for piece in self.pieces)]).tolist()

        @lru_cache(maxsize=PIECES_IN_MEMORY)
        def read(at: int) -> Any:
            return self.pieces[at].read(column)

        def pick(row: int) -> Any:
            at = bisect_right(starts, row) - 1
            return read(at)[row - starts[at]].as_py()

        return pick


def read_parts(root: Path) -> dict[str, Part]:
    """The parts of a set that `datasets` saved below `root`, or of its Parquet files.

    Raises InputError where pyarrow is not installed, or there are no such files, several sets of them, or broken ones.
    """
    if not root.is_dir():
        raise no_such(root, "a folder", "file")
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            "data.source: huggingface needs the package pyarrow, which is not installed here: "
            "pip install 'compact-nas[huggingface]'"
        )
    return {part: _opened(files) for part, files in _files(root).items()}


def _files(root: Path) -> dict[str, list[Path]]:
    """Files of train, val and test, as their folder or own name says; without a train, it is what says nothing."""
    found: dict[str, list[Path]] = defaultdict(list)
    for file in _data_files(root):
        found[_part_of(file.relative_to(root))].append(file)
    if not found:
        raise InputError(f"data.path: expected Arrow or Parquet files ({', '.join(SUFFIXES)}) in {root}, got none")
    if "train" not in found and "" in found:
        found["train"] = found.pop("")
    parts = {part: sorted(found[part]) for part in SPLITS if part in found}
    for part, files in parts.items():
        if len(folders := sorted({str(file.parent) for file in files})) > 1:
            raise InputError(
                f"data.path: expected one data set in {root}, got files of {part} in {len(folders)} folders: "
                f"{', '.join(folders[:4])}; name the folder of one as data.path"
            )
    return parts


def _data_files(root: Path) -> list[Path]:
    """What state.json lists, in folders that have one; elsewhere every file but those of cached operations."""
    files = []
    listed: dict[Path, set[str] | None] = {}
    for file in files_below(root, SUFFIXES):
        folder = file.parent
        if folder not in listed:
            listed[folder] = _listed(folder / "state.json")
        names = listed[folder]
        if file.name in names if names is not None else not file.name.startswith(("cache-", "tmp")):
            files.append(file)
    return files


def _listed(state: Path) -> set[str] | None:
    if not state.exists():
        return None
    try:
        return {entry["filename"] for entry in json.loads(state.read_text(encoding="utf-8"))["_data_files"]}
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"data.path: {state}: expected the state of a saved data set ({error!r})") from None


def _part_of(inside: Path) -> str:
    """The part that the file's name or, from the inside out, a folder's name says; else none."""
    for name in (inside.stem, *reversed(inside.parent.parts)):
        words = [part_named(word) for word in re.split(r"[^A-Za-z]+", name)]
        if part := next((word for word in words if word), None):
            return part
    return ""


def _opened(files: Sequence[Path]) -> Part:
    import pyarrow

    pieces, schema = list[Piece](), None
    for file in files:
        try:
            own, schema_here = (_parquet if file.suffix == ".parquet" else _arrow)(file)
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"data.path: {file}: cannot be read: {error}") from None
        if schema is not None and schema.names != schema_here.names:
            raise InputError(
                f"data.path: {file}: expected columns {schema.names} as in other files, got {schema_here.names}"
            )
        schema = schema or schema_here
        pieces += own
    return Part(tuple(files), tuple(piece for piece in pieces if piece.rows), schema)


def _arrow(file: Path) -> tuple[list[Piece], Any]:
    """A stream, as `datasets` writes them, or a file with a footer."""
    import pyarrow
    from pyarrow import ipc

    source = pyarrow.memory_map(str(file))
    try:
        table = ipc.open_stream(source).read_all()
    except pyarrow.ArrowInvalid:
        table = ipc.open_file(source).read_all()
    return [Piece(batch.num_rows, batch.column) for batch in table.to_batches()], table.schema


def _parquet(file: Path) -> tuple[list[Piece], Any]:
    from pyarrow import parquet

    source = parquet.ParquetFile(file)

    def reader(group: int) -> Callable[[str], Any]:
        return lambda column: parquet.ParquetFile(file).read_row_group(group, columns=[column]).column(column)

    groups = range(source.num_row_groups)
    return [Piece(source.metadata.row_group(group).num_rows, reader(group)) for group in groups], source.schema_arrow
