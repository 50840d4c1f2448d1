"""The run folder's tables, and the front written for a terminal, a sheet or a program."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nas.errors import InputError
from nas.front import front
from nas.objectives import PARITY, may_stand
from nas.records import State
from nas.report.figures import FIGURES, NONE, accuracy_text, figure
from nas.run_folder.columns import FINALIST_COLUMNS, FRONT_COLUMNS, TRIAL_COLUMNS, kind_of
from nas.study.file import load_study

READ_AT_THE_END = tuple(name for name in FRONT_COLUMNS if name.startswith("test_"))
Style = Literal["csv", "json"]
GAP = 2  # characters between columns


def read_trials(folder: Path) -> pd.DataFrame:
    """trials.csv, typed, with its flags; empty where there is none yet."""
    known = [name for name in TRIAL_COLUMNS if name != "flags"]
    return _with_flags(folder, _read(folder / "trials.csv", known))


def read_finalists(folder: Path) -> pd.DataFrame:
    """finalists.csv, typed; empty where there is none yet."""
    return _read(folder / "finalists.csv", FINALIST_COLUMNS)


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table typed by column name, never by guess: the id 12345e678901 is no number."""
    rows = _rows(path.read_text(encoding="utf-8")) if path.exists() else []
    names = list(dict.fromkeys([*(rows[0] if rows else ()), *columns]))
    cells = {name: [row.get(name) or "" for row in rows] for name in names}
    return pd.DataFrame({name: _typed(values, name, path) for name, values in cells.items()})


def _rows(text: str) -> list[dict[str, str]]:
    """Rows by column name; a last line without its end is still being written and left out."""
    whole = text[: text.rfind("\n") + 1]
    reader = csv.DictReader(io.StringIO(whole, newline=""))
    return [{k: v for k, v in row.items() if k is not None} for row in reader]


def _typed(values: list[str], name: str, path: Path) -> pd.Series[Any]:
    dtype = kind_of(name).dtype
    if dtype == "str":
        return pd.Series(values, dtype="str")
    try:
        numbers = pd.Series([float(v) if v else np.nan for v in values], dtype="float64")
    except ValueError as error:
        raise InputError(f"{path.name}, column {name}: expected numbers ({error})") from error
    return numbers.astype(dtype)


def front_rows(folder: Path, objectives: Sequence[str] | None = None) -> pd.DataFrame:
    """Candidates no other one dominates in `objectives` (default: the study's), the best in the first on top.

    Taken over the finalists, or over the COMPLETE trials while there are none; columns as in front.csv.
    """
    names = tuple(load_study(folder / "study.yaml").objectives if objectives is None else objectives)
    if not names:
        raise InputError("objectives: expected at least one, got none")
    finalists = read_finalists(folder)
    if stands(finalists).any():
        return _front(finalists, names)[[c for c in finalists if c not in ("state", "reason")]]
    return _as_front(_front(read_trials(folder), names))


def _front(frame: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """Rows that may stand, with every objective measured, that no other such row dominates."""
    unknown = [name for name in objectives if name not in frame or name.partition("@")[0] not in FIGURES]
    if unknown:
        known = [str(name) for name in frame if str(name).partition("@")[0] in FIGURES]
        raise InputError(f"objectives: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    able = frame[stands(frame) & frame[list(objectives)].notna().all(axis=1)]
    return able.iloc[front_among(able, objectives)]


def front_among(frame: pd.DataFrame, objectives: Sequence[str]) -> list[int]:
    """Positions of the rows that no other row of `frame` dominates, the best in the first objective first."""
    values = frame[list(objectives)].to_numpy(dtype="float64")
    return front(values, objectives, frame["log_loss"].tolist() if "log_loss" in frame else ())


def stands(frame: pd.DataFrame) -> pd.Series[bool]:
    """Which rows may stand on a front."""
    found = [may_stand(state, flags.split()) for state, flags in zip(frame["state"], frame["flags"], strict=True)]
    return pd.Series(found, index=frame.index, dtype=bool)


def disagrees(frame: pd.DataFrame) -> pd.Series[bool]:
    """Rows flagged `parity`: the file does not do what the network does, so it is on no front."""
    return pd.Series([PARITY in flags.split() for flags in frame["flags"]], index=frame.index, dtype=bool)


def why_empty(folder: Path, objectives: Sequence[str]) -> str:
    """Why no trial stands on the front in these objectives, with counts."""
    trials = read_trials(folder)
    complete = trials[trials["state"] == State.COMPLETE]
    if trials.empty:
        return "The front is empty: no trial has ended yet."
    if complete.empty:
        counts = trials["state"].value_counts()
        ended = ", ".join(f"{number} {str(state).lower()}" for state, number in counts.items())
        return f"The front is empty: no trial is complete ({ended}{_most_broken(trials)})."
    if not stands(complete).any():
        many = f"all {len(complete)} complete trials are" if len(complete) > 1 else "the one complete trial is"
        return f"The front is empty: {many} flagged `parity`: the file does not answer as the network does."
    finalists = read_finalists(folder)
    able = finalists[stands(finalists)] if stands(finalists).any() else complete[stands(complete)]
    absent = ", ".join(name for name in objectives if able[name].isna().all()) or "every objective together"
    return f"The front is empty: none of {len(able)} that may stand on it was measured in {absent}."


def _most_broken(trials: pd.DataFrame) -> str:
    """The constraint that most infeasible trials break."""
    broken = Counter(
        part.partition("=")[0] for cell in trials.loc[trials["state"] == State.INFEASIBLE, "violation"]
        for part in cell.split("; ") if part
    )  # fmt: skip
    return "".join(f"; constraints.{name} is broken by {number}" for name, number in broken.most_common(1))


def _with_flags(folder: Path, trials: pd.DataFrame) -> pd.DataFrame:
    """Trials with a `flags` column; where trials.csv has none, evaluation.json of the complete ones tells."""
    if "flags" in trials:
        return trials
    complete = trials["state"] == State.COMPLETE
    rows = zip(trials["artifact"], complete, strict=True)
    flags = [_recorded_flags(folder / artifact) if asked else "" for artifact, asked in rows]
    return trials.assign(flags=pd.Series(flags, index=trials.index, dtype="str"))


def _recorded_flags(artifact: Path) -> str:
    try:
        record = json.loads((artifact / "evaluation.json").read_text(encoding="utf-8"))
        return " ".join(record.get("flags", ()))
    except (OSError, ValueError):
        return ""


def _as_front(trials: pd.DataFrame) -> pd.DataFrame:
    """Search-time rows under the names of front.csv; the test split was not read for them."""
    renamed = trials.rename(columns={"number": "trial"}).assign(
        search_accuracy=trials["accuracy"], **dict.fromkeys(READ_AT_THE_END, np.nan)
    )
    others = [column for column in renamed if "@" in str(column) and str(column).partition("@")[0] in FRONT_COLUMNS]
    return renamed[[*FRONT_COLUMNS, *others]]


def format_front(frame: pd.DataFrame, style: Style) -> str:
    """The front as CSV or JSON, in full precision and the files' units."""
    match style:
        case "csv":
            return str(frame.to_csv(index=False, lineterminator="\n"))
        case "json":
            return json.dumps(records(frame), indent=2, allow_nan=False) + "\n"
    raise ValueError(f"style: expected csv or json, got {style!r}")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain Python values, None where nothing was measured."""
    return [{str(k): _plain(v) for k, v in row.items()} for row in frame.to_dict(orient="records")]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return None
    return int(value) if float(value).is_integer() and not isinstance(value, float) else float(value)


def print_front(console: Console, folder: Path, objectives: Sequence[str]) -> None:
    """The front for a terminal, or why it is empty. Nothing is cut: neither on a narrow terminal nor in a pipe."""
    rows = front_rows(folder, objectives)
    if rows.empty:
        console.print(why_empty(folder, objectives), markup=False, highlight=False, soft_wrap=True)
    blocks = front_tables(rows, objectives, width=console.width if console.is_terminal else None)
    for number, block in enumerate(blocks if len(rows) else []):
        if number:
            console.print()
        console.print(block, crop=False, no_wrap=True, overflow="ignore")


def front_tables(frame: pd.DataFrame, objectives: Sequence[str], *, width: int | None = None) -> list[Table]:
    """The front, with the costs among `objectives`: per cent with standard error, KB, ms.

    One table, or, where that is wider than `width` characters, several below each other, each of which begins with the
    trial's number and id.
    """
    rows = records(frame)
    keys, figures = _columns(rows, objectives)
    blocks = [list(keys)]
    for column in figures:
        is_full = width is not None and _width([*blocks[-1], column]) > width
        if is_full and len(blocks[-1]) > len(keys):
            blocks.append(list(keys))
        blocks[-1].append(column)
    return [_table(block) for block in blocks]


@dataclass(frozen=True, slots=True)
class ShownColumn:
    """A column on the terminal: its head in short lines and its cells."""

    head: str
    cells: list[str]
    is_text: bool = False

    @property
    def width(self) -> int:
        return max(cell_len(line) for cell in (self.head, *self.cells) for line in cell.split("\n"))


def _columns(rows: list[dict[str, Any]], objectives: Sequence[str]) -> tuple[list[ShownColumn], list[ShownColumn]]:
    """Those that name a row, and those that tell of it."""
    costs = [figure(name) for name in objectives if name != "accuracy"]
    keys = [
        ShownColumn("trial", [NONE if row["trial"] is None else str(row["trial"]) for row in rows]),
        ShownColumn("id", [row["id"] for row in rows], is_text=True),
    ]
    accuracies = (("validation (%)", "accuracy"), ("test (%)", "test_accuracy"))
    told = [
        *(ShownColumn(_stacked(t), [accuracy_text(r[k], r[f"{k}_se"]) for r in rows]) for t, k in accuracies),
        *(ShownColumn(_stacked(cost.title), [cost.text(row[cost.key]) for row in rows]) for cost in costs),
    ]
    flags = [row["flags"] for row in rows]
    return keys, [*told, *([ShownColumn("flags", flags, is_text=True)] if any(flags) else [])]


def _width(columns: Sequence[ShownColumn]) -> int:
    """Characters of a table's line."""
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def _table(columns: Sequence[ShownColumn]) -> Table:
    """Cells are Text, because flags and ids are data and no markup."""
    table = Table(box=None, header_style="bold", pad_edge=False, width=_width(columns))
    for column in columns:
        table.add_column(Text(column.head), justify="left" if column.is_text else "right", no_wrap=True)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _stacked(title: str) -> str:
    """A column's head in short lines, the unit on one of its own: eighty columns must do."""
    label, opening, unit = title.partition(" (")
    return "\n".join([*textwrap.wrap(label, 12), *([f"({unit}"] if opening else [])])
