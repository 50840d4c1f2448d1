"""What an engine is: it connects to where trials run, and opens executors there. A row of `nas.registry.ENGINES`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from nas.executors.pool import Executor, ExecutorSetup, OpenExecutor
from nas.measuring.places import Places, places_of
from nas.run_folder.paths import RunFolder
from nas.study import Study


class Connection(Protocol):
    """An engine that is reached.

    `workers` is what `search.workers` comes to there, `places` are where the driver has each target measured.
    """

    @property
    def workers(self) -> int: ...

    @property
    def places(self) -> Places: ...

    def open(self, setup: ExecutorSetup) -> AbstractContextManager[Executor]:
        """An executor, ended with the block."""
        ...


class Engine(Protocol):
    """Where trials run."""

    def refused(self, study: Study) -> Sequence[str]:
        """Sentences that begin with the key at fault, on what it cannot do; told without reaching anything."""
        ...

    def connect(self, study: Study, folder: RunFolder) -> AbstractContextManager[Connection]:
        """Reach it. Raises InputError where it cannot be reached as the study says."""
        ...


@dataclass(frozen=True)
class Connected:
    """A connection that needs no more than an executor to open."""

    workers: int
    places: Places
    open: OpenExecutor


@dataclass(frozen=True)
class OnThisMachine:
    """An engine whose workers are processes of this machine."""

    open: OpenExecutor

    def refused(self, study: Study) -> Sequence[str]:
        return [
            f"targets[{index}].device: expected search.engine ray, which has devices, got {study.search.engine}"
            for index, target in enumerate(study.targets)
            if target.device is not None
        ]

    @contextmanager
    def connect(self, study: Study, folder: RunFolder) -> Iterator[Connection]:
        yield Connected(study.search.worker_count, places_of(study.targets), self.open)
