"""The run folder's tables, and the front written for a terminal, a sheet or a program."""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from nas.errors import InputError
from nas.pareto import non_dominated
from nas.records import QUALITIES, State
from nas.report.figures import FIGURES, accuracy_text, figure
from nas.study.file import load_study

FRONT_COLUMNS = (
    "trial", "id", "search_accuracy", "accuracy", "accuracy_se", "test_accuracy", "test_accuracy_se",
    "parameters", "size_bytes", "latency_ms", "macs", "peak_memory_bytes",
    "balanced_accuracy", "macro_f1", "log_loss", "test_balanced_accuracy", "test_macro_f1", "flags", "artifact",
)  # fmt: skip
_TEST_COLUMNS = tuple(name for name in FRONT_COLUMNS if name.startswith("test_"))
FINALIST_COLUMNS = (*FRONT_COLUMNS, "state", "reason")
TRIAL_COLUMNS = (
    "number", "state", "reason", "id", "structure_id", "fidelity", "epochs", "accuracy", "accuracy_se",
    "train_accuracy", "parameters", "size_bytes", "latency_ms", "macs", "peak_memory_bytes",
    "balanced_accuracy", "macro_f1", "log_loss", "violation", "attempts", "seconds", "seed", "started_at", "artifact",
    "retry_of", "blocks", "mean_width", "kept_share", "mean_bits",
)  # fmt: skip
COUNTS = frozenset(
    {"number", "trial", "parameters", "size_bytes", "macs", "peak_memory_bytes", "attempts", "seed", "blocks"}
)

MEASURES = frozenset(
    {"fidelity", "epochs", "accuracy", "accuracy_se", "train_accuracy", "seconds", "search_accuracy", "test_accuracy"}
    | {"test_accuracy_se", "log_loss", "test_balanced_accuracy", "test_macro_f1"}
    | {"mean_width", "kept_share", "mean_bits", *FIGURES}
)

Points = np.ndarray[Any, np.dtype[np.float64]]
Style = Literal["csv", "json"]


def read_trials(folder: Path) -> pd.DataFrame:
    """trials.csv, typed, with its flags; empty where there is none yet."""
    return _with_flags(folder, _read(folder / "trials.csv", TRIAL_COLUMNS))


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
    if name not in COUNTS and name.partition("@")[0] not in MEASURES:
        return pd.Series(values, dtype="str")
    try:
        numbers = pd.Series([float(v) if v else np.nan for v in values], dtype="float64")
    except ValueError as error:
        raise InputError(f"{path.name}, column {name}: expected numbers ({error})") from error
    return numbers.astype("Int64") if name in COUNTS else numbers


def front_rows(folder: Path, objectives: Sequence[str] | None = None) -> pd.DataFrame:
    """Candidates no other one dominates in `objectives` (default: the study's), the best in the first on top.

    Taken over the finalists, or over the COMPLETE trials while there are none; columns as in front.csv.
    """
    names = tuple(load_study(folder / "study.yaml").objectives if objectives is None else objectives)
    if not names:
        raise InputError("objectives: expected at least one, got none")
    finalists = read_finalists(folder)
    if ((finalists["state"] == State.COMPLETE) & ~disagrees(finalists)).any():
        return _front(finalists, names)[[c for c in finalists if c not in ("state", "reason")]]
    return _as_front(_front(read_trials(folder), names))


def _front(frame: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """COMPLETE rows with every objective measured that no other such row dominates."""
    unknown = [name for name in objectives if name not in frame or name.partition("@")[0] not in FIGURES]
    if unknown:
        known = [str(name) for name in frame if str(name).partition("@")[0] in FIGURES]
        raise InputError(f"objectives: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    measured = frame[list(objectives)].notna().all(axis=1)
    candidates = frame[(frame["state"] == State.COMPLETE) & measured & ~disagrees(frame)]
    if candidates.empty:
        return candidates
    members = candidates[non_dominated(minimised(candidates, objectives))]
    is_quality = objectives[0] in QUALITIES
    keys = [objectives[0], *(["log_loss"] if is_quality and "log_loss" in members else [])]  # breaks ties of quality
    return members.sort_values(keys, ascending=[not is_quality, True][: len(keys)], kind="stable")


def minimised(frame: pd.DataFrame, objectives: Sequence[str]) -> Points:
    """Objective values as points (n, m) that are all better when smaller."""
    signs = [-1.0 if name in QUALITIES else 1.0 for name in objectives]
    points: Points = frame[list(objectives)].to_numpy(dtype="float64") * np.array(signs)
    return points


def disagrees(frame: pd.DataFrame) -> pd.Series[bool]:
    """Rows flagged `parity`: the file does not do what the network does, so it is on no front."""
    return frame["flags"].map(lambda flags: "parity" in re.split(r"[\s,;|]+", flags)).astype(bool)


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
        search_accuracy=trials["accuracy"], **dict.fromkeys(_TEST_COLUMNS, np.nan)
    )
    others = [column for column in renamed if str(column).startswith("latency_ms@")]
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


def front_table(frame: pd.DataFrame, objectives: Sequence[str]) -> Table:
    """The front for a terminal, with the costs among `objectives`: per cent with standard error, KB, ms."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    costs = [name for name in objectives if name != "accuracy"]
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("id", no_wrap=True)
    for title in ("validation (%)", "test (%)", *(figure(cost).title for cost in costs)):
        table.add_column(Text(_stacked(title)), justify="right", no_wrap=True)
    if flagged := bool(frame["flags"].astype(bool).any()):
        table.add_column("flags")
    for row in records(frame):
        table.add_row(*_cells(row, costs, flagged=flagged))
    return table


def _stacked(title: str) -> str:
    """A column's head in short lines, the unit on one of its own: eighty columns must do."""
    label, opening, unit = title.partition(" (")
    return "\n".join([*textwrap.wrap(label, 12), *([f"({unit}"] if opening else [])])


def _cells(row: dict[str, Any], costs: Iterable[str], *, flagged: bool) -> list[Text]:
    """One row's cells; Text, because flags and ids are data and no markup."""
    trial = "–" if row["trial"] is None else str(row["trial"])
    validation = accuracy_text(row["accuracy"], row["accuracy_se"])
    test = accuracy_text(row["test_accuracy"], row["test_accuracy_se"])
    figures = [figure(cost).text(row[cost]) for cost in costs]
    return [Text(cell) for cell in (trial, row["id"], validation, test, *figures, *([row["flags"]] if flagged else []))]
