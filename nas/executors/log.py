"""The watcher that keeps a run folder's log and heartbeat: what `nas logs` and `nas status` read on any machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console, ConsoleRenderable, RenderHook
from rich.text import Text

from nas import __version__
from nas.executors.heart import Heart
from nas.executors.pool import Broke, Died, Event, Paused, Refused, Reported, Told, TookTooLong
from nas.executors.view import words_of
from nas.executors.watching import WISHES
from nas.records import Evaluation, State
from nas.run_folder.heartbeat import Ending, RunningTask
from nas.run_folder.log import Level, LogFile
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import TrialRow
from nas.study import Study
from nas.tasks import Progress, Task

SHOWN = {"yellow": Level.WARNING, "red": Level.ERROR}  # colours of what is printed for people to notice


@dataclass(frozen=True)
class _Running:
    task: Task
    since: float
    progress: Progress | None = None


class RunLog:
    """run.log, a line for every event, and heartbeat.json every two seconds, from `began` to `ended`."""

    name = "run.log"

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._running: dict[tuple[str, int], _Running] = {}
        self._left: float | None = None
        self._writing = threading.RLock()  # what is shown may come from other threads, or from a signal's handler

    def began(self, study: Study, folder: RunFolder) -> None:
        self._log = LogFile(folder)
        engine, workers = study.search.engine, study.search.worker_count
        self._heart = Heart(folder, self._says, engine=engine, workers=workers)
        process = self._heart.process
        self._put(
            Level.INFO,
            "began",
            f"{study.name}: a driver began on {process.host} (process {process.pid}), compact-nas {__version__}, "
            f"engine {engine}, {workers} worker{'s' if workers > 1 else ''}",
            pid=process.pid,
            host=process.host,
            engine=engine,
            workers=workers,
            version=__version__,
        )
        self._heart.start()
        if self._console is not None:
            self._console.push_render_hook(WarningsSeen(self))

    def started(self, task: Task) -> None:
        self._running[_key(task)] = _Running(task, time.monotonic())
        attempt = f", attempt {task.attempt}" if task.attempt > 1 else ""
        self._write(Level.INFO, "started", task, f"begins{attempt}", attempt=task.attempt)

    def expects(self, seconds: float) -> None:
        """How long all that is left takes."""
        self._left = seconds

    def happened(self, event: Event) -> None:
        match event:
            case Told(task, progress):
                if (running := self._running.get(_key(task))) is not None:
                    self._running[_key(task)] = replace(running, progress=progress)
            case Reported(task, rung):
                if rung.share is not None:
                    self._write(Level.DEBUG, "rung", task, f"is at rung {rung.share:g}", scores=dict(rung.scores or {}))
            case Paused(task):
                self._forget(task)
                self._write(Level.INFO, "paused", task, "is paused; its checkpoint is kept")
            case TookTooLong(task):
                self._forget(task)
                self._write(Level.WARNING, "too long", task, "took too long; its worker was killed")
            case Died() as died:
                self._died(died)
            case Broke(task, reason):
                self._forget(task)
                self._write(Level.ERROR, "broke", task, f"cannot go on: {reason}")
            case Refused(reason):
                self._put(Level.ERROR, "refused", f"a worker refuses the study: {reason}")

    def over(self, task: Task, evaluation: Evaluation | None, row: TrialRow) -> None:
        self._forget(task)
        told = {"state": row.state, "attempts": row.attempts, "took_seconds": row.seconds, "artifact": row.artifact}
        self._write(Level.WARNING if row.state is State.FAILED else Level.INFO, "over", task, _outcome(row), **told)

    def ended(self, folder: RunFolder, problem: str) -> None:
        if self._console is not None:
            self._console.pop_render_hook()
        ending = _ending(problem)
        level = Level.ERROR if ending is Ending.FAILED else Level.INFO
        self._heart.stop(ending=ending, problem=problem if ending is Ending.FAILED else "")
        self._put(level, "ended", f"the driver ended: {problem or 'all is done'}", ending=ending)
        self._log.close()

    def note(self, level: Level, event: str, words: str) -> None:
        """A line that belongs to no evaluation."""
        self._put(level, event, words)

    def _died(self, died: Died) -> None:
        if died.task is None:
            self._put(Level.WARNING, "died", f"an idle worker died: {died.reason}")
        else:
            self._forget(died.task)
            self._write(Level.WARNING, "died", died.task, f"lost its worker: {died.reason}")

    def _write(self, level: Level, event: str, task: Task, words: str, **more: Any) -> None:
        told = {"phase": task.phase, "number": task.number, "id": task.candidate.id, **more}
        self._put(level, event, f"{name_of(task)} {words}", **told)

    def _put(self, level: Level, event: str, words: str, **more: Any) -> None:
        """A line that the disk does not take is left out: what is wrong with the disk is told by what needs it."""
        with self._writing, suppress(OSError):
            self._log.write(level, event, words, **more)

    def _forget(self, task: Task) -> None:
        self._running.pop(_key(task), None)

    def _says(self) -> Mapping[str, Any]:
        """Of the heart's thread: what is running now."""
        now = time.monotonic()
        running = tuple(
            RunningTask(one.task.phase, one.task.number, one.task.candidate.id, words_of(one.progress), now - one.since)
            for one in list(self._running.values())
        )
        return {"running": running, "left_seconds": self._left}


def name_of(task: Task) -> str:
    """How the log names an evaluation: `trial 12 (ab12cd34)`."""
    return f"{'trial' if task.phase == 'search' else task.phase} {task.number} ({task.candidate.id[:8]})"


def _ending(problem: str) -> Ending:
    if not problem:
        return Ending.OVER
    return Ending.STOPPED if problem in WISHES else Ending.FAILED


def _key(task: Task) -> tuple[str, int]:
    return task.phase, task.number


def _outcome(row: TrialRow) -> str:
    """What became of an evaluation, in a sentence."""
    seconds = "" if row.seconds is None else f" after {row.seconds:.1f} s"
    if row.state is not State.COMPLETE:
        return f"is {row.state.lower()}{seconds}: {row.reason}"
    accuracy = "" if row.accuracy is None else f": accuracy {row.accuracy:.2%}"
    return f"is complete{seconds}{accuracy}"


class WarningsSeen(RenderHook):
    """While it is a console's hook, whatever is printed in yellow or red goes into the log too."""

    def __init__(self, log: RunLog) -> None:
        self._log = log

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        for text in (one for one in renderables if isinstance(one, Text)):
            styles = {str(span.style) for span in text.spans} | {str(text.style)}
            level = max((level for colour, level in SHOWN.items() if colour in styles), default=None)
            if level is not None:
                self._log.note(level, "shown", text.plain.removeprefix("warning: "))
        return renderables
