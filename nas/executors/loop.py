"""The local loop: idle workers are filled, what they finish is taken, the terminal shows it, Ctrl-C ends it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from nas.errors import InputError
from nas.executors.local import LocalWorkers
from nas.executors.pool import Broke, Died, Refused, TookTooLong
from nas.records import State
from nas.run_folder.paths import read_evaluation
from nas.run_folder.rows import TrialRow
from nas.search.driver import Done, Driver, Wait
from nas.tasks import Task

MAX_START_DEATHS = 3


class WorkFailed(Exception):
    """The search cannot go on; the message says why."""


class Interrupted(Exception):
    """Ctrl-C was pressed twice."""


@dataclass
class Stop:
    """Ctrl-C, counted: once means finish what is running, twice means now.

    While `watched` somebody looks at `presses` and ends the work in order; else the second one is raised at once.
    """

    presses: int = 0
    console: Console = field(default_factory=Console)
    watched: bool = False

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        previous = signal.signal(signal.SIGINT, self._pressed)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, previous)

    def _pressed(self, *_: object) -> None:
        self.presses += 1
        if self.presses == 1:
            self.console.print("[yellow]Finishing what is running; press Ctrl-C again to stop now.[/]")
        elif not self.watched or self.presses > 2:
            raise KeyboardInterrupt

    @contextmanager
    def watching(self) -> Iterator[None]:
        self.watched = True
        try:
            yield
        finally:
            self.watched = False

    @property
    def asked(self) -> bool:
        return self.presses > 0


def disk_words(path: Path, problem: str) -> str:
    return f"{path}: {problem}; nothing finished is lost, the same command goes on"


def drive(
    driver: Driver,
    pool: LocalWorkers,
    stop: Stop,
    console: Console,
    title: str,
    total: int,
    done: Callable[[], int],
    after: Callable[[TrialRow | None], str],
) -> str:
    """The local loop: fill idle workers, take what they finish; returns the driver's problem, if it has one.

    Raises InputError where a worker refuses the study, WorkFailed where no worker can go on, Interrupted at the second
    Ctrl-C.
    """
    start_deaths = 0
    with _progress(console, title, total) as progress, stop.watching():
        bar = progress.task_ids[0]
        progress.update(bar, completed=done(), note=after(None))
        while True:
            answer: Task | Wait | Done | None = None
            while pool.idle and not stop.asked and isinstance(answer := driver.propose(), Task):
                pool.submit(answer)
            if isinstance(answer, Done) or (stop.asked and not pool.running):
                return answer.problem if isinstance(answer, Done) else ""
            if stop.presses > 1:
                raise Interrupted
            for event in pool.wait(0.2):
                if isinstance(event, Refused):
                    raise InputError(event.reason)
                if isinstance(event, Broke):
                    raise WorkFailed(disk_words(driver.folder.path, event.reason))
                if isinstance(event, Died):
                    start_deaths += not event.started
                    if start_deaths >= MAX_START_DEATHS:
                        raise WorkFailed(f"workers do not start: {event.reason}")
                    row = driver.died(event.task, event.reason, started=event.started) if event.task else None
                elif isinstance(event, TookTooLong):
                    row = driver.took_too_long(event.task)
                else:
                    start_deaths = 0
                    row = _take(driver, event.task)
                if row is not None:
                    progress.console.print(_line(row))
                    progress.update(bar, completed=done(), note=after(row))


def _take(driver: Driver, task: Task) -> TrialRow:
    evaluation = read_evaluation(task.folder)
    assert evaluation is not None, f"{task.folder} has no evaluation.json"
    return driver.finish(task, evaluation)


def _progress(console: Console, title: str, total: int) -> Progress:
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )
    progress.add_task(title, total=total, note="")
    return progress


def _line(row: TrialRow) -> str:
    if row.state is not State.COMPLETE:
        return f"[dim]{row.shown:>5}  {row.id[:8]}  {row.state.lower()}: {escape(row.reason)}[/]"
    test = f"  test {row.test_accuracy:.2%}" if row.test_accuracy is not None else ""
    costs = row.costs
    return (
        f"{row.shown:>5}  {row.id[:8]}  {row.accuracy:.2%}{test}  {costs['parameters']:,.0f} params  "
        f"{costs['size_bytes'] / 1000:.1f} KB  {costs['latency_ms']:.4f} ms  ({row.seconds:.1f} s)"
    )
