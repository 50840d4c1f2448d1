"""What an executor is: the Protocol that `drive` sees, what it is opened with, and the events it reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nas.run_folder.paths import RunFolder
from nas.study import Study
from nas.tasks import Progress, Rung, Task, Verdict


@dataclass(frozen=True)
class Finished:
    """A task ended with an evaluation, whatever its state.

    `artifact` is the folder that holds its files, or their bytes (`nas.run_folder.artifacts.pack`) from where no disk
    is shared.
    """

    task: Task
    artifact: Path | bytes


@dataclass(frozen=True)
class Died:
    """A worker process ended, over a task if it had one; `started` says whether it had ever become ready.

    `blamed` says whether the task may be why: not where the machine that it ran on is gone.
    """

    task: Task | None
    reason: str
    started: bool
    blamed: bool = True


@dataclass(frozen=True)
class TookTooLong:
    """A worker was killed because its task was not done within the limit."""

    task: Task


@dataclass(frozen=True)
class Broke:
    """A worker found that nothing can be evaluated any more; its task is unfinished.

    The disk is full, for example, or the place where latency is measured does not answer.
    """

    task: Task
    reason: str


@dataclass(frozen=True)
class Refused:
    """A worker found while it started that the study asks for something impossible."""

    reason: str


@dataclass(frozen=True)
class Reported:
    """A task finished an epoch; its worker waits for the executor's `answer`."""

    task: Task
    rung: Rung


@dataclass(frozen=True)
class Told:
    """A task says what it is at, about once a second; nothing is waited for."""

    task: Task
    progress: Progress


@dataclass(frozen=True)
class Noticed:
    """What users should know of a worker or a machine, in a sentence; the work goes on."""

    text: str


@dataclass(frozen=True)
class Paused:
    """A worker saved a checkpoint of its task and is free again, because the driver answered PAUSE."""

    task: Task


Event = Finished | Died | TookTooLong | Broke | Refused | Reported | Told | Noticed | Paused


class Executor(Protocol):
    """Runs tasks somewhere, each in one of a number of places."""

    @property
    def idle(self) -> int:
        """Free places: how many tasks may be submitted now."""

    @property
    def running(self) -> Sequence[Task]:
        """Tasks that were submitted and have not ended."""

    def submit(self, task: Task) -> None:
        """Start a task in a free place."""

    def wait(self, timeout: float) -> Sequence[Event]:
        """What happened, as soon as something did, or nothing after `timeout` seconds."""

    def answer(self, task: Task, verdict: Verdict) -> None:
        """Answer a `Reported` of a running task; after a PAUSE `Paused` follows, after a STOP `Finished`."""


def no_limit(_: Task) -> None:
    return None


def never() -> bool:
    return False


@dataclass(frozen=True)
class ExecutorSetup:
    """What an executor is opened with: a study whose run folder holds its study.yaml, `workers` places of `threads`.

    A task may take `limit_minutes` of an attempt, None for no limit; time while `excused` says so does not count.
    """

    study: Study
    folder: RunFolder
    workers: int
    threads: int
    limit_minutes: Callable[[Task], float | None] = no_limit
    excused: Callable[[], bool] = never


OpenExecutor = Callable[[ExecutorSetup], AbstractContextManager[Executor]]
