"""How a run stands, from its folder's files alone: no lock is taken, the journal is not read, nothing is written.

Only the cells that are shown become numbers, so that twenty thousand trials take no more than a few seconds.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nas.front import front
from nas.objectives import Points, beyond_worst, may_stand, minimised
from nas.pareto import hypervolume
from nas.records import QUALITIES, State
from nas.report.rate import Rate as Rate
from nas.report.rate import last_session, rate_of
from nas.run_folder.heartbeat import Life, Sign
from nas.run_folder.log import LogLine
from nas.run_folder.paths import RunFolder
from nas.study import Study

SHOWN_FAILURES = 3
LOG_BYTES = 2**20  # of the log's end, which a rate is taken from
Table = Mapping[str, Sequence[str]]  # cells by column


@dataclass(frozen=True)
class Best:
    """The best value of an objective on the front, and whose it is."""

    value: float
    trial: str
    id: str


@dataclass(frozen=True)
class Further:
    """What is trained after the search: how many are complete, ended otherwise, and wanted."""

    complete: int
    others: int
    wanted: int


@dataclass(frozen=True)
class Failure:
    """An evaluation that failed, by what users know it by."""

    whose: str
    reason: str


@dataclass(frozen=True)
class Status:
    """A run.

    `states` count search trials of `wanted` complete ones. `front` has so many members among what `of` says;
    `hypervolume` is that of the search's trials. `left_seconds` are expected until all is done; where the driver does
    not say, they are the search's alone, by its rate (`is_by_rate`). `deaths` count workers that died lately.
    """

    name: str
    folder: Path
    sign: Sign
    wanted: int
    states: Mapping[State, int]
    further: Mapping[str, Further] = field(default_factory=dict)
    rate: Rate | None = None
    left_seconds: float | None = None
    is_by_rate: bool = False
    front: int = 0
    of: str = "search trials"
    hypervolume: float | None = None
    best: Mapping[str, Best] = field(default_factory=dict)
    failures: Sequence[Failure] = ()
    deaths: int = 0
    last_death: str = ""

    @property
    def complete(self) -> int:
        return self.states.get(State.COMPLETE, 0)

    @property
    def is_over(self) -> bool:
        return self.sign.life is Life.OVER


def status_of(folder: RunFolder, study: Study, sign: Sign, log: Sequence[LogLine]) -> Status:
    """The run in `folder`, of which the log's end and the last sign of life are known."""
    trials = read_columns(folder.trials)
    finalists, references, repeats = map(read_columns, (folder.finalists, folder.references, folder.repeats))
    states = Counter(State(name) for name in trials.get("state", ()))
    session = last_session(log)
    at = None if sign.beat is None else sign.beat.seconds
    rate = rate_of(session, at if sign.life is Life.RUNNING else None)
    wanted = max(0, study.search.trials - states[State.COMPLETE])
    left, is_by_rate = _left(sign, rate, wanted)
    able = _standing(finalists, study.objectives)
    of = "finalists" if able.numbers else "search trials"
    searched = _standing(trials, study.objectives)
    members, best = _front(able if able.numbers else searched, study.objectives)
    deaths = [line for line in session if line.event == "died"]
    return Status(
        name=study.name,
        folder=folder.path,
        sign=sign,
        wanted=study.search.trials,
        states=states,
        further=_further(study, finalists, references, repeats),
        rate=rate,
        left_seconds=left,
        is_by_rate=is_by_rate,
        front=members,
        of=of,
        hypervolume=volume_of(searched.values, study),
        best=best,
        failures=_failures(trials, finalists, references),
        deaths=len(deaths),
        last_death=deaths[-1].words if deaths else "",
    )


def read_columns(file: Path) -> Table:
    """A table of a run folder as text, by column; empty where there is none yet. A torn last line is left out."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))
    if not rows:
        return {}
    names, *rows = rows
    whole = [row for row in rows if len(row) == len(names)]
    return dict(zip(names, zip(*whole, strict=True) if whole else ((),) * len(names), strict=True))


@dataclass(frozen=True)
class _Able:
    """The rows that may stand on a front, with every objective: values (n, m), numbers, ids, log-losses."""

    values: Points
    numbers: Sequence[str] = ()
    ids: Sequence[str] = ()
    log_losses: Sequence[float | None] = ()


def _standing(table: Table, objectives: Sequence[str]) -> _Able:
    nothing = _Able(np.empty((0, len(objectives))))
    if not {"state", "id", *objectives} <= table.keys():
        return nothing
    ends = zip(table["state"], table.get("flags", [""] * len(table["state"])), strict=True)
    rows = [row for row, (state, flags) in enumerate(ends) if may_stand(state, flags.split())]
    rows = [row for row in rows if all(table[name][row] for name in objectives)]
    if not rows:
        return nothing
    values = np.array([[float(table[name][row]) for name in objectives] for row in rows])
    numbers = table["trial" if "trial" in table else "number"]
    losses = table.get("log_loss")
    return _Able(
        values,
        [numbers[row] for row in rows],
        [table["id"][row] for row in rows],
        [float(losses[row]) if losses[row] else None for row in rows] if losses else (),
    )


def _front(able: _Able, objectives: Sequence[str]) -> tuple[int, dict[str, Best]]:
    """How many no others dominate, and the best of them in each objective."""
    members = front(able.values, objectives, able.log_losses)
    if not members:
        return 0, {}
    values = able.values[members]
    best = {}
    for column, name in enumerate(objectives):
        own = values[:, column]
        row = members[int(own.argmax() if name in QUALITIES else own.argmin())]
        best[name] = Best(float(able.values[row, column]), able.numbers[row], able.ids[row])
    return len(members), best


def volume_of(values: Points, study: Study) -> float | None:
    """The hypervolume of values (n, m), by the run's reference point or, before it is fixed, one beyond the worst."""
    if not len(values):
        return None
    names = study.objectives
    fixed = study.report.hypervolume_reference or {}
    point = [fixed[n] if n in fixed else beyond_worst(n, values[:, i].tolist()) for i, n in enumerate(names)]
    return hypervolume(minimised(values, names), minimised([point], names)[0])


def _left(sign: Sign, rate: Rate | None, wanted: int) -> tuple[float | None, bool]:
    """Seconds until all is done, and whether they are the search's alone, by its rate."""
    if sign.life is Life.OVER:
        return None, False
    if sign.beat is not None and sign.beat.left_seconds is not None and math.isfinite(sign.beat.left_seconds):
        passed = (sign.seconds_ago or 0.0) if sign.life is Life.RUNNING else 0.0
        return max(0.0, sign.beat.left_seconds - passed), False
    if rate is None or not rate.complete:
        return None, False
    return 3600 * wanted / rate.complete, True


def _further(study: Study, finalists: Table, references: Table, repeats: Table) -> dict[str, Further]:
    asked = study.search.finalists
    tables = {"finalists": (finalists, asked), "references": (references, 0), "repeats": (repeats, 0)}
    return {name: _count(table.get("state", ()), wanted) for name, (table, wanted) in tables.items() if table or wanted}


def _count(states: Sequence[str], wanted: int) -> Further:
    complete = sum(state == State.COMPLETE for state in states)
    return Further(complete, len(states) - complete, max(wanted, len(states)))


def _failures(trials: Table, finalists: Table, references: Table) -> list[Failure]:
    """The last that failed; in the order of their numbers, finalists and references last."""
    named = [("trial", "number", trials), ("finalist", "trial", finalists), ("", "reference", references)]
    found = [
        Failure(f"{word} {table[column][row]}".strip(), table["reason"][row])
        for word, column, table in named
        for row, state in enumerate(table.get("state", ()))
        if state == State.FAILED
    ]
    return found[-SHOWN_FAILURES:]
