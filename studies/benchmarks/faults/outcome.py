"""What came of one kind of fault, and the table of all."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Say = Callable[[str], None]
MOST_RUNS = 5  # for one fault


@dataclass
class Outcome:
    """Of `times` faults: finished evaluations `lost`, done again (`repeated`), processes left behind (`orphans`).

    `recovery_s` are the seconds from each fault, or from the restart after it, to the next epoch or evaluation on disk.
    `continued` evaluations took more than one attempt, `epochs_again` of their epochs were trained more than once; None
    where nobody counted. `problems` are all that was not as it should be; `notes` what else is worth knowing.
    """

    times: int = 0
    lost: int = 0
    repeated: int = 0
    orphans: int = 0
    recovery_s: list[float] = field(default_factory=list)
    continued: int = 0
    epochs_again: int | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.repeated or self.orphans or self.problems or self.skipped)

    def expect(self, condition: bool, otherwise: str) -> None:
        """Note a problem unless the condition holds."""
        if not condition:
            self.problems.append(otherwise)

    def count_epochs(self, again: int) -> None:
        self.epochs_again = (self.epochs_again or 0) + again

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "recovery_s": [round(seconds, 2) for seconds in self.recovery_s]}


@dataclass(frozen=True)
class Ground:
    """Where a fault is tried: a scratch folder of its own, a seed, and how often."""

    scratch: Path
    times: int
    seed: int = 0
    say: Say = print

    def runs(self, outcome: Outcome) -> Iterator[int]:
        """Numbers of runs, until there were enough faults; a fault that comes in hardly any run is a problem."""
        for number in range(MOST_RUNS * self.times):
            if outcome.times >= self.times:
                return
            yield number
        outcome.expect(outcome.times >= self.times, f"{outcome.times} of {self.times} faults could be done")


@dataclass(frozen=True)
class Fault:
    """A row of the table: what is done, how often by default, and what must be there; `needs` says what is missing."""

    words: str
    strike: Callable[[Ground], Outcome]
    times: int = 1
    needs: Callable[[], str] = lambda: ""


def seconds_words(recovery_s: Sequence[float]) -> str:
    """The median and the worst."""
    if not recovery_s:
        return "-"
    return f"{statistics.median(recovery_s):.1f} ({max(recovery_s):.1f})"


def cells(words: str, outcome: Outcome) -> list[str]:
    if outcome.skipped:
        return [words, *["-"] * 7, outcome.skipped]
    again = "-" if outcome.epochs_again is None else str(outcome.epochs_again)
    counts = (outcome.times, outcome.lost, outcome.repeated, outcome.orphans)
    verdict = "good" if outcome.is_good else "; ".join(outcome.problems) or "not good"
    return [words, *map(str, counts), seconds_words(outcome.recovery_s), str(outcome.continued), again, verdict]


def show(found: Mapping[str, Outcome], faults: Mapping[str, Fault], console: Console) -> None:
    table = Table(title="Faults, and what came of them")
    table.add_column("fault")
    for column in ("times", "lost", "repeated", "orphans", "s to recover (worst)", "continued", "epochs again"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for name, outcome in found.items():
        table.add_row(*cells(faults[name].words, outcome))
    console.print(table)
