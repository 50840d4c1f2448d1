"""The tables of a run folder as CSV files: written whole, appended to, and counted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from nas.files import write_atomically
from nas.run_folder.columns import column
from nas.run_folder.rows import TrialRow


def write_rows(file: Path, columns: Sequence[str], rows: Iterable[TrialRow]) -> None:
    """Write a whole table, atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(cells(row, columns) for row in rows)
    write_atomically(file, text.getvalue())


def append_row(file: Path, columns: Sequence[str], row: TrialRow) -> None:
    """Add one row to a table that is there."""
    with file.open("a", newline="", encoding="utf-8") as out:
        csv.writer(out, lineterminator="\n").writerow(cells(row, columns))


def count_rows(file: Path, columns: Sequence[str]) -> int:
    """Rows of a table, or -1 where the file is missing or has other columns or a torn end."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return -1
    rows = list(csv.reader(io.StringIO(text)))
    return len(rows) - 1 if rows and rows[0] == list(columns) and text.endswith("\n") else -1


def cells(row: TrialRow, columns: Sequence[str]) -> list[str]:
    """A row as text, in full precision; nothing for what was not measured. Raises ValueError for an unknown column."""
    return [_cell(row, name) for name in columns]


def _cell(row: TrialRow, name: str) -> str:
    known = column(name)
    if known is None:
        raise ValueError(f"column: expected one of the table of columns, got {name!r}")
    return known.cell(row)
