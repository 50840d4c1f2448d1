"""The run folder's tables, typed, and the front among their rows, written for a sheet or a program."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from nas.errors import InputError
from nas.front import front, front_subset
from nas.objectives import may_stand, minimised
from nas.records import PARITY, SIMULATED, State
from nas.report.figures import FIGURES
from nas.report.sureness import Repeats, p_on_front, repeats_in, with_seeds
from nas.run_folder.columns import (
    FINALIST_COLUMNS,
    FRONT_COLUMNS,
    REFERENCE_COLUMNS,
    REPEAT_COLUMNS,
    TRIAL_COLUMNS,
    kind_of,
)
from nas.run_folder.rows import PARAMS
from nas.study.at_targets import short_names
from nas.study.file import load_study

LATER = tuple(name for name in FRONT_COLUMNS if name.startswith("test_") or name in ("seeds", "mean_accuracy"))
Style = Literal["csv", "json"]
OFF_THE_FRONT = {  # flags that keep complete trials off fronts
    PARITY: "the file does not answer as the network does",
    SIMULATED: "no runtime computes with activations of fewer than 8 bits; accuracies are those of the network in "
    "torch, costs those of a file with 8",
}


def read_trials(folder: Path) -> pd.DataFrame:
    """trials.csv, typed, with its flags; empty where there is none yet."""
    known = [name for name in TRIAL_COLUMNS if name != "flags"]
    return _with_flags(folder, _read(folder / "trials.csv", known))


def read_finalists(folder: Path) -> pd.DataFrame:
    """finalists.csv, typed; empty where there is none yet."""
    return _read(folder / "finalists.csv", FINALIST_COLUMNS)


def read_repeats(folder: Path) -> pd.DataFrame:
    """repeats.csv, typed; empty where there is none."""
    return _read(folder / "repeats.csv", REPEAT_COLUMNS)


def read_references(folder: Path) -> pd.DataFrame:
    """references.csv, typed; empty where there is none."""
    return _read(folder / "references.csv", REFERENCE_COLUMNS)


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table typed by its columns' names, never by guess: the id 12345e678901 is not a number."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return pd.DataFrame({name: _typed([], name, path) for name in columns})
    return _parsed(path, tuple(columns), (found.st_ino, found.st_mtime_ns, found.st_size)).copy()


@lru_cache(maxsize=8)  # picture, report and front read the same tables
def _parsed(path: Path, columns: tuple[str, ...], version: tuple[int, int, int]) -> pd.DataFrame:
    """A table as it was at a `version` of its file."""
    cells = _cells(path.read_text(encoding="utf-8"))
    rows = max(map(len, cells.values()), default=0)
    names = dict.fromkeys([*cells, *columns])
    return pd.DataFrame({name: _typed(cells.get(name, [""] * rows), name, path) for name in names})


def _cells(text: str) -> dict[str, list[str]]:
    """Cells by column name; a last line without a line end is still being written, and left out."""
    whole = text[: text.rfind("\n") + 1]
    head, *rows = [row for row in csv.reader(io.StringIO(whole, newline="")) if row] or [[]]
    filled = [[*row, *[""] * (len(head) - len(row))] for row in rows]
    return {name: [row[place] for row in filled] for place, name in enumerate(head)} if rows else {}


def _typed(values: list[str], name: str, path: Path) -> pd.Series[Any]:
    dtype = kind_of(name).dtype
    if dtype == "str":
        return pd.Series(values, dtype="str")
    try:
        numbers = pd.Series([float(v) if v else np.nan for v in values], dtype="float64")
    except ValueError as error:
        raise InputError(f"{path.name}, column {name}: expected numbers ({error})") from error
    return numbers.astype(dtype)


def asked_objectives(folder: Path, asked: str | None) -> tuple[str, ...]:
    """Objectives as a user lists them, by commas, under their columns' names; without any, those of the study."""
    study = load_study(folder / "study.yaml")
    names = [name.strip() for name in asked.split(",")] if asked else study.objectives
    short = short_names(study.targets)
    return tuple(short.get(name, name) for name in names)


def front_rows(folder: Path, objectives: Sequence[str] | None = None) -> pd.DataFrame:
    """Candidates no other one dominates in `objectives` (default: the study's), the best in the first on top.

    Taken over the finalists, or over the COMPLETE trials while there are none; columns as in front.csv.
    """
    study = load_study(folder / "study.yaml")
    names = tuple(study.objectives if objectives is None else objectives)
    if not names:
        raise InputError("objectives: expected at least one, got none")
    finalists, repeats, seed = read_finalists(folder), _repeats(folder), study.search.seed
    if stands(finalists).any():
        # Repeats were trained by the search's recipe, and what ships is a finalist's own file.
        members = _front(finalists, names, {}, seed=seed)[[c for c in finalists if c not in ("state", "reason")]]
    else:
        members = _as_front(_front(read_trials(folder), names, repeats, seed=seed))
    return with_seeds(members, repeats)


def _repeats(folder: Path) -> Repeats:
    table = read_repeats(folder)
    return repeats_in(table[stands(table)])


def _front(frame: pd.DataFrame, objectives: Sequence[str], repeats: Repeats, *, seed: int) -> pd.DataFrame:
    """Rows that may stand, with every objective measured, that no other such row dominates, and how surely so."""
    unknown = [name for name in objectives if name not in frame or name.partition("@")[0] not in FIGURES]
    if unknown:
        known = [str(name) for name in frame if str(name).partition("@")[0] in FIGURES]
        raise InputError(f"objectives: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    able = frame[stands(frame) & frame[list(objectives)].notna().all(axis=1)]
    able = able.assign(p_on_front=p_on_front(able, objectives, repeats, seed=seed))
    return able.iloc[front_among(able, objectives)]


def thinned(members: pd.DataFrame, objectives: Sequence[str], at_most: int | None) -> pd.DataFrame:
    """At most so many members of a front: the best in every quality, then greedily by the hypervolume each adds."""
    if at_most is None or len(members) <= at_most:
        return members
    points = minimised(members[list(objectives)].to_numpy(dtype="float64"), objectives)
    return members.iloc[sorted(front_subset(points, objectives, at_most))]


def front_among(frame: pd.DataFrame, objectives: Sequence[str]) -> list[int]:
    """Positions of the rows that no other row of `frame` dominates, the best in the first objective first."""
    values = frame[list(objectives)].to_numpy(dtype="float64")
    return front(values, objectives, frame["log_loss"].tolist() if "log_loss" in frame else ())


def stands(frame: pd.DataFrame) -> pd.Series[bool]:
    """Which rows may stand on a front."""
    found = [may_stand(state, flags_in(flags)) for state, flags in zip(frame["state"], frame["flags"], strict=True)]
    return pd.Series(found, index=frame.index, dtype=bool)


def kept_off(frame: pd.DataFrame) -> pd.Series[bool]:
    """Rows whose accuracy is not that of their file, so that they are on no front."""
    return pd.concat([has_flag(frame, flag) for flag in OFF_THE_FRONT], axis=1).any(axis=1)


def has_flag(frame: pd.DataFrame, flag: str) -> pd.Series[bool]:
    """Rows with this flag."""
    return pd.Series([flag in flags_in(flags) for flags in frame["flags"]], index=frame.index, dtype=bool)


def flags_in(cell: str) -> list[str]:
    """The flags in a cell; we separate them by spaces, and accept what a table edited by hand may have."""
    return re.split(r"[\s,;|]+", cell)


def _with_flags(folder: Path, trials: pd.DataFrame) -> pd.DataFrame:
    """Trials with a `flags` column; where trials.csv has none, it is read from evaluation.json of the complete ones."""
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
    """Search-time rows under the names of front.csv; the test split was not read for them, repeats come later."""
    renamed = trials.rename(columns={"number": "trial"}).assign(
        search_accuracy=trials["accuracy"], recipe="", **dict.fromkeys(LATER, np.nan)
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


def figures_in(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """`records` of trials without their genes, which are most of the columns."""
    return records(trials[[name for name in trials if not str(name).startswith(PARAMS)]])


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return None
    return int(value) if float(value).is_integer() and not isinstance(value, float) else float(value)
