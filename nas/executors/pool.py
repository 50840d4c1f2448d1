"""What an executor tells the loop: five events."""

from __future__ import annotations

from dataclasses import dataclass

from nas.tasks import Task


@dataclass(frozen=True)
class Finished:
    """A task ended; its evaluation.json is there."""

    task: Task


@dataclass(frozen=True)
class Died:
    """A worker process ended, over a task if it had one; `started` says whether it had ever become ready."""

    task: Task | None
    reason: str
    started: bool


@dataclass(frozen=True)
class TookTooLong:
    """A worker was killed because its task was not done within the limit."""

    task: Task


@dataclass(frozen=True)
class Broke:
    """A worker found that nothing can be evaluated any more, the disk being full say; its task is unfinished."""

    task: Task
    reason: str


@dataclass(frozen=True)
class Refused:
    """A worker found while it started that the study asks for what cannot be."""

    reason: str


Event = Finished | Died | TookTooLong | Broke | Refused
