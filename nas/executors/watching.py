"""Watchers: who hears of a run what happens in it, and never stops it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.markup import escape

from nas.executors.pool import Event
from nas.records import Evaluation
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import TrialRow
from nas.study import Study
from nas.tasks import Task

STOPPED, INTERRUPTED, TERMINATED = "stopped before the end", "interrupted", "terminated"
WISHES = (STOPPED, INTERRUPTED, TERMINATED)  # ends that are no problem
HASTY = (INTERRUPTED, TERMINATED)  # ends that wait for nobody


class Watcher(Protocol):
    """Hears of a run from its beginning to its end, in the driver's process; must not take long."""

    name: str

    def began(self, study: Study, folder: RunFolder) -> None:
        """The driver holds the folder; the study is the resolved one. A run that is continued begins again."""

    def started(self, task: Task) -> None:
        """A task was given to a worker."""

    def happened(self, event: Event) -> None:
        """An executor's event, before the driver answers it."""

    def over(self, task: Task, evaluation: Evaluation | None, row: TrialRow) -> None:
        """A trial is over: told to the journal. No evaluation where its worker died or was killed."""

    def ended(self, folder: RunFolder, problem: str) -> None:
        """The driver is done and the report is written; `problem` says why where it ended otherwise."""


@runtime_checkable
class Expecting(Protocol):
    """A watcher that hears of the forecast too, as often as it changes."""

    def expects(self, seconds: float) -> None:
        """Seconds until all is done."""


@dataclass
class Watchers:
    """Several watchers; one that raises is dropped with a warning, and the run goes on."""

    watchers: Sequence[Watcher]
    console: Console
    _left: list[Watcher] = field(init=False)
    _folder: RunFolder | None = None

    def __post_init__(self) -> None:
        self._left = list(self.watchers)

    def began(self, study: Study, folder: RunFolder) -> None:
        self._folder = folder
        self._each(lambda watcher: watcher.began(study, folder))

    def started(self, task: Task) -> None:
        self._each(lambda watcher: watcher.started(task))

    def happened(self, event: Event) -> None:
        self._each(lambda watcher: watcher.happened(event))

    def expects(self, seconds: float | None) -> None:
        """How long all that is left takes, where that is known."""
        if seconds is not None:
            self._each(lambda watcher: watcher.expects(seconds) if isinstance(watcher, Expecting) else None)

    def over(self, task: Task, evaluation: Evaluation | None, row: TrialRow) -> None:
        self._each(lambda watcher: watcher.over(task, evaluation, row))

    def ended(self, problem: str = "") -> None:
        """Tell them of the end, once, if they heard of a beginning."""
        if (folder := self._folder) is not None:
            self._folder = None
            self._each(lambda watcher: watcher.ended(folder, problem))

    def _each(self, tell: Callable[[Watcher], None]) -> None:
        for watcher in list(self._left):
            try:
                tell(watcher)
            except Exception as error:  # whatever it is, it is no reason to stop a search
                self._left = [other for other in self._left if other is not watcher]
                words = " ".join(str(error).split())[:200] or type(error).__name__
                self.console.print(f"[yellow]warning:[/] {watcher.name} is told nothing more: {escape(words)}")


def nobody() -> Watchers:
    return Watchers((), Console(quiet=True))
