"""The front on a terminal or in a pipe: every figure beside its trial, and why where there is no front."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nas.records import State
from nas.report.figures import NONE, accuracy_text, figure, present, seeds_text, share_text
from nas.report.outlook import expected_per_hour, outlook_words
from nas.report.references import Reference, references_of, verdict, words
from nas.report.tables import OFF_THE_FRONT, front_rows, has_flag, read_finalists, read_trials, records, stands, thinned
from nas.report.ties import tie_words
from nas.report.zeros import has_zeros, idle_words_of, zeros_text
from nas.study.file import load_study

GAP = 2  # characters between columns


def print_front(console: Console, folder: Path, objectives: Sequence[str], *, at_most: int | None = None) -> None:
    """The front for a terminal, or why it is empty. Nothing is cut: neither on a narrow terminal nor in a pipe.

    `at_most` so many members are shown, and the references below them. Where one of these is on the front, that is the
    first sentence.
    """
    members = front_rows(folder, objectives)
    whole = records(members)
    references = references_of(folder, whole, objectives)
    if lost := verdict(references, whole, objectives):
        console.print(lost, style="yellow", markup=False, highlight=False, soft_wrap=True)
    rows = thinned(members, objectives, at_most)
    if rows.empty:
        console.print(why_empty(folder, objectives), markup=False, highlight=False, soft_wrap=True)
    elif fallen := no_finalist_stands(read_finalists(folder)):
        console.print(fallen, markup=False, highlight=False, soft_wrap=True)
    beside = [shown_reference(reference) for reference in references if reference.is_complete]
    blocks = front_tables(rows, objectives, width=console.width if console.is_terminal else None, beside=beside)
    for number, block in enumerate(blocks if len(rows) else []):
        if number:
            console.print()
        console.print(block, crop=False, no_wrap=True, overflow="ignore")
    study = load_study(folder / "study.yaml")
    told = [tie_words(records(rows), objectives), *words(references, whole)]
    for sentence in filter(None, [*told, idle_words_of(study) if has_zeros(records(rows)) else ""]):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    if outlook := outlook_words(expected_per_hour(read_trials(folder), study)):
        console.print(outlook, markup=False, highlight=False, soft_wrap=True)


def shown_reference(reference: Reference) -> dict[str, Any]:
    """A reference as a row of the table: its name stands where candidates have their id."""
    return {**reference.row, "trial": None, "id": reference.name, "flags": reference.flags}


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
        flag = next(flag for flag in OFF_THE_FRONT if has_flag(complete, flag).any())
        many = f"all {len(complete)} complete trials are" if len(complete) > 1 else "the one complete trial is"
        return f"The front is empty: {many} flagged `{flag}`: {OFF_THE_FRONT[flag]}."
    finalists = read_finalists(folder)
    able = finalists[stands(finalists)] if stands(finalists).any() else complete[stands(complete)]
    absent = ", ".join(name for name in objectives if able[name].isna().all()) or "every objective together"
    return f"The front is empty: none of {len(able)} that may stand on it was measured in {absent}."


def no_finalist_stands(finalists: pd.DataFrame) -> str:
    """That the front is one of search trials because none of the finalists may stand on it; empty where one may."""
    if finalists.empty or stands(finalists).any():
        return ""
    rows = zip(finalists["trial"], finalists["state"], finalists["reason"], finalists["flags"], strict=True)
    ended = "; ".join(f"{trial} {state.lower()}: {reason or flags}" for trial, state, reason, flags in rows)
    return f"None of the finalists may stand on the front ({ended}). These are search trials:"


def _most_broken(trials: pd.DataFrame) -> str:
    """The constraint that most infeasible trials break."""
    broken = Counter(
        part.partition("=")[0] for cell in trials.loc[trials["state"] == State.INFEASIBLE, "violation"]
        for part in cell.split("; ") if part
    )  # fmt: skip
    return "".join(f"; constraints.{name} is broken by {number}" for name, number in broken.most_common(1))


def front_tables(
    frame: pd.DataFrame,
    objectives: Sequence[str],
    *,
    width: int | None = None,
    beside: Sequence[dict[str, Any]] = (),
) -> list[Table]:
    """The front, with the costs among `objectives`: per cent with standard error, KB, ms; below it the rows `beside`.

    One table, or, where that is wider than `width` characters, several below each other, each of which begins with the
    trial's number and id.
    """
    rows = [*records(frame), *beside]
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
    """The columns that name a row, and those of its figures."""
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
    told += [*_zeros(rows), *_sureness(rows)]
    words = [(name, [row.get(name) or "" for row in rows]) for name in ("flags", "recipe")]
    return keys, [*told, *(ShownColumn(name, cells, is_text=True) for name, cells in words if any(cells))]


def _sureness(rows: list[dict[str, Any]]) -> list[ShownColumn]:
    """How surely each network is on the front and, where some were trained with several seeds, their mean accuracy."""
    sure = [share_text(row.get("p_on_front")) for row in rows]
    shown = [ShownColumn("on the\nfront\n(%)", sure)] if any(present(row.get("p_on_front")) for row in rows) else []
    if any(present(row.get("mean_accuracy")) for row in rows):
        shown.append(ShownColumn("mean of\nseeds\n(%)", [seeds_text(row) for row in rows]))
    return shown


def _zeros(rows: list[dict[str, Any]]) -> list[ShownColumn]:
    return [ShownColumn("zeros\n(%)", [zeros_text(row) for row in rows])] if has_zeros(rows) else []


def _width(columns: Sequence[ShownColumn]) -> int:
    """Characters of a table's line."""
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def _table(columns: Sequence[ShownColumn]) -> Table:
    """The cells are Text, because flags and ids are data, not markup."""
    table = Table(box=None, header_style="bold", pad_edge=False, width=_width(columns))
    for column in columns:
        table.add_column(Text(column.head), justify="left" if column.is_text else "right", no_wrap=True)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _stacked(title: str) -> str:
    """A column's head in short lines, the unit on a line of its own, to fit eighty characters."""
    label, opening, unit = title.partition(" (")
    return "\n".join([*textwrap.wrap(label, 12), *([f"({unit}"] if opening else [])])
