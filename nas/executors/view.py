"""What is seen of a drive: how many are done, what every running evaluation is at, and when it all ends.

In a terminal these are bars that move; elsewhere they are lines, one per epoch of a trial at most, and not more often
than one in LINE_SECONDS for each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from nas.estimate.outlook import Outlook
from nas.estimate.words import duration
from nas.records import Evaluation, State
from nas.run_folder.rows import TrialRow
from nas.tasks import Progress, Task

TICK_SECONDS = 1.0
LINE_SECONDS, SILENT_SECONDS = 5.0, 30.0
BAR_WIDTH = 16
MOST_BARS = 16  # of what runs: a terminal has no room for hundreds, and drawing them ten times a second takes a core
DOING = {
    "build": "building",
    "prune": "pruning an untrained copy",
    "emit": "writing its file",
    "teach": "with the teacher",
    "train": "beginning to train",
    "rung": "scoring a copy",
    "verify": "checking its file",
    "measure": "measuring",
    "score": "scoring",
    "quantize": "quantizing a finished file",
}
Key = tuple[str, int]


@dataclass(frozen=True)
class Forecast:
    """What is expected: `left(running)` seconds of this drive, and `further()` seconds of what comes after it."""

    outlook: Outlook
    left: Callable[[Sequence[Task]], float]
    further: Callable[[], float] = lambda: 0.0

    def seconds(self, running: Sequence[Task]) -> tuple[float, float]:
        """Until this drive ends, and from then until the whole run does."""
        return self.left(running), self.further()

    @staticmethod
    def words(left: float, further: float) -> str:
        """When this drive and the whole run end."""
        own = f"about {duration(left)} left"
        return own if further < 1 else f"{own}, all about {duration(left + further)}"


@dataclass(frozen=True)
class Screen:
    """What is shown of a drive: how many are `done()` of a `total`, and what `after(row)` says of each row.

    At the beginning and at the end `after` is called with None.
    """

    console: Console
    title: str
    total: int
    done: Callable[[], int]
    after: Callable[[TrialRow | None], str]
    forecast: Forecast | None = None

    @contextmanager
    def showing(self) -> Iterator[View]:
        """The view while it lasts."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(BAR_WIDTH))
        further = (TextColumn("{task.fields[count]}"), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
        with Bars(*columns, *further, console=self.console) as bars:
            view = View(self, bars, bars.add_task(self.title, total=self.total, count="", note=""))
            view.show(None)
            yield view
            view.end()


@dataclass
class View:
    """What a drive tells; in a terminal it moves by itself between the calls."""

    screen: Screen
    bars: Bars
    bar: TaskID
    left_seconds: float | None = None  # until all is done
    _counts: str = ""
    _expected: str = ""
    _said: dict[Key, Progress] = field(default_factory=dict)
    _rows: dict[Key, TaskID] = field(default_factory=dict)
    _lines: dict[Key, tuple[float, int]] = field(default_factory=dict)
    _ticked: float = -TICK_SECONDS
    _line: float = field(default_factory=lambda: time.monotonic() - SILENT_SECONDS)

    def heard(self, task: Task, told: Progress) -> None:
        """What a running evaluation is at."""
        if self.screen.forecast is not None:
            self.screen.forecast.outlook.hear(task, told)
        self._said[key_of(task)] = told
        if not self.is_terminal and told.budget:
            self._log(task, told)

    def notice(self, text: str) -> None:
        """What users should know, in a line of its own."""
        self.bars.console.print(f"[yellow]warning:[/] {escape(text)}", soft_wrap=True)

    def finished(self, task: Task, evaluation: Evaluation) -> None:
        if self.screen.forecast is not None:
            self.screen.forecast.outlook.finished(task, evaluation)

    def show(self, row: TrialRow | None) -> None:
        """A row that is new, or the beginning or the end of all."""
        if row is not None:
            self.bars.console.print(line_of(row))
        self._counts = self.screen.after(row)
        done = self.screen.done()
        self.bars.update(self.bar, completed=done, count=f"{done}/{self.screen.total}", note=self._note())
        self._ticked = -TICK_SECONDS

    def tick(self, running: Sequence[Task]) -> None:
        """Called as often as one likes: what is expected is reckoned anew about once a second."""
        now = time.monotonic()
        if now - self._ticked < TICK_SECONDS:
            return
        self._ticked = now
        self._forget(running)
        self._expected = words = self.expected(running)
        if self.is_terminal:
            self.bars.update(self.bar, note=self._note())
            for task in running:
                self._move(task)
        elif words and now - self._line >= SILENT_SECONDS:
            self._print(f"{self.screen.title}: {words}")

    def expected(self, running: Sequence[Task]) -> str:
        """The forecast in words; how long all takes is kept."""
        if (forecast := self.screen.forecast) is None:
            return ""
        left, further = forecast.seconds(running)
        self.left_seconds = left + further
        return forecast.words(left, further)

    def left_of(self, running: Sequence[Task]) -> str:
        """How long those that run still take, in words; empty where nothing is known."""
        forecast = self.screen.forecast
        if forecast is None or not running:
            return ""
        return duration(max(forecast.outlook.left(task) for task in running))

    def end(self) -> None:
        self._forget(())
        self.bars.update(self.bar, note=self._counts)

    def _note(self) -> str:
        return ", ".join(filter(None, (self._expected, self._counts)))

    @property
    def is_terminal(self) -> bool:
        return self.screen.console.is_terminal

    def words(self, task: Task) -> str:
        """What a task is at, and when it ends."""
        left = "" if self.screen.forecast is None else f"{duration(self.screen.forecast.outlook.left(task))} left"
        return ", ".join(filter(None, (words_of(self._said.get(key_of(task))), left)))

    def _log(self, task: Task, told: Progress) -> None:
        """A line where an epoch is over, or where there was none for long."""
        now, key = time.monotonic(), key_of(task)
        last, epochs = self._lines.get(key, (now - LINE_SECONDS, 0))
        is_new = int(told.epochs) > epochs and now - last >= LINE_SECONDS
        if not is_new and now - last < SILENT_SECONDS:
            self._lines.setdefault(key, (last, epochs))
            return
        self._lines[key] = now, int(told.epochs)
        self._print(f"{label_of(task)}  {self.words(task)}")

    def _print(self, words: str) -> None:
        self._line = time.monotonic()
        self.bars.console.print(escape(words), highlight=False, soft_wrap=True)

    def _move(self, task: Task) -> None:
        """The bar of a running task."""
        key, told = key_of(task), self._said.get(key_of(task))
        if key not in self._rows and len(self._rows) >= MOST_BARS:
            return
        if key not in self._rows:
            self._rows[key] = self.bars.add_task(label_of(task), total=task.epochs, count="", note="")
        self.bars.update(self._rows[key], note=self.words(task))
        if told is not None and told.part == "train" and told.budget:
            self.bars.update(self._rows[key], completed=told.epochs, count=f"{told.epochs:.1f}/{task.epochs}")

    def _forget(self, running: Sequence[Task]) -> None:
        """Drop what no longer runs."""
        kept = set(map(key_of, running))
        for key in [key for key in self._rows if key not in kept]:
            self.bars.remove_task(self._rows.pop(key))
        for known in (self._said, self._lines):
            for key in [key for key in known if key not in kept]:
                del known[key]


def key_of(task: Task) -> Key:
    return task.phase, task.number


def label_of(task: Task) -> str:
    """How its row will begin: a number stands for a trial of the search alone."""
    return f"{task.number if task.phase == 'search' else task.phase:>5}  {task.candidate.id[:8]}"


def words_of(told: Progress | None) -> str:
    """What was told, in words."""
    if told is None:
        return "waiting for a worker"
    if not told.budget:
        return DOING.get(told.part, told.part)
    loss = "" if told.loss is None else f"loss {told.loss:.3f}, "
    whose = "" if told.part == "train" else "the teacher: "
    return (
        f"{whose}{told.stage}, epoch {told.epochs:.1f} of {told.budget}, {loss}{told.images_per_second:,.0f} images/s"
    )


def line_of(row: TrialRow) -> str:
    """A finished evaluation."""
    if row.state is not State.COMPLETE:
        return f"[dim]{row.label:>5}  {row.id[:8]}  {row.state.lower()}: {escape(row.reason)}[/]"
    test = f"  test {row.test_accuracy:.2%}" if row.test_accuracy is not None else ""
    costs = row.costs
    return (
        f"{row.label:>5}  {row.id[:8]}  {row.accuracy:.2%}{test}  {costs['parameters']:,.0f} params  "
        f"{costs['size_bytes'] / 1000:.1f} KB  {costs['latency_ms']:.4f} ms  ({row.seconds:.1f} s)"
    )
