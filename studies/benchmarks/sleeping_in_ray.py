"""Sleeping trials on Ray, for `scale.py`: one light process per worker under the engine's own executor, or one for all.

A worker writes its evaluation where the driver would: on one machine they share the disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sleeper

from nas import __version__
from nas.executors.pool import Event, Executor, ExecutorSetup, Finished
from nas.executors.ray.assignments import Assignments
from nas.executors.ray.connecting import connected
from nas.executors.ray.datasets import DriverData
from nas.executors.ray.mailbox import Mailbox, Message
from nas.executors.ray.serving import Assignment, NodeSetup
from nas.executors.ray.workers import RayWorkers
from nas.run_folder.paths import RunFolder
from nas.study.file import load_recorded
from nas.tasks import Task, Verdict

SHARE = 0.01  # of a core: sleepers need none


class Sleeper:
    """In place of the engine's actor: it sleeps, and says what that one says."""

    seconds = 1.0

    def __init__(self, setup: NodeSetup, scratch: str) -> None:
        self._box, self._home = Mailbox(), setup.home
        self._box.put(ready={"node": "here", "node_id": "", "actor": "", "scratch": scratch})

    def listen(self, after: int, seconds: float) -> list[Message]:
        return self._box.after(after, seconds)

    def begin(self, assignment: Assignment) -> None:
        threading.Thread(target=self._sleep, args=(json.loads(assignment.line),), daemon=True).start()

    def answer(self, verdict: str) -> None:
        pass

    def close(self) -> None:
        pass

    def _sleep(self, task: dict[str, Any]) -> None:
        began = time.monotonic()
        time.sleep(self.seconds)
        sleeper.write(task)
        note(self._home, os.getpid(), began)
        self._box.put(done=None)


class Sleepers:
    """An asyncio actor: any number of trials sleep in one process."""

    def __init__(self, home: Path, seconds: float) -> None:
        self._home, self._seconds = home, seconds

    async def sleep(self, line: str, place: int) -> int:
        """Answers with the place, which is free again."""
        began = time.monotonic()
        await asyncio.sleep(self._seconds)
        sleeper.write(json.loads(line))
        note(self._home, place, began)
        return place


def note(home: Path, worker: int, began: float) -> None:
    """Add when a worker's trial began and ended to the table of times."""
    with (home.parent / sleeper.TIMES).open("a", encoding="utf-8") as times:
        times.write(json.dumps([worker, began, time.monotonic()]) + "\n")


@dataclass
class Together:
    """An executor over one asyncio actor."""

    actor: Any
    count: int
    _tasks: dict[int, Task] = field(default_factory=dict)
    _calls: dict[Any, int] = field(default_factory=dict)

    @property
    def idle(self) -> int:
        return self.count - len(self._tasks)

    @property
    def running(self) -> list[Task]:
        return list(self._tasks.values())

    def submit(self, task: Task) -> None:
        place = next(place for place in range(self.count) if place not in self._tasks)
        self._tasks[place] = task
        self._calls[self.actor.sleep.remote(task.to_line(), place)] = place

    def answer(self, task: Task, verdict: Verdict) -> None:
        pass

    def wait(self, timeout: float) -> list[Event]:
        import ray

        first, _ = ray.wait(list(self._calls), num_returns=1, timeout=timeout)
        done = ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)[0] if first else []
        places = [self._calls.pop(call) for call in done]
        ray.get(list(done))
        return [Finished(task, task.folder) for task in map(self._tasks.pop, places)]


@contextmanager
def open_sleepers(folder: RunFolder, *, workers: int, seconds: float, together: int) -> Iterator[Executor]:
    """`workers` sleepers in a Ray of their own; `together` of them share a process."""
    import ray

    study = load_recorded(folder.study)
    for module in (sys.modules[__name__], sleeper):
        ray.cloudpickle.register_pickle_by_value(module)
    with connected(None, {}) as cluster:
        options = {"num_cpus": SHARE, "max_restarts": 0}
        if together > 1:
            actor = cluster.start(Sleepers, folder.path, seconds, options={**options, "max_concurrency": together})
            yield Together(actor, workers)
            return
        node = NodeSetup(__version__, "", folder.path, True, 1, 1e9, {}, {})
        workers_of = RayWorkers(
            setup=ExecutorSetup(study, folder, workers=workers, threads=1),
            cluster=cluster,
            node_setup=node,
            assignments=Assignments(study, folder, DriverData(study, cluster.put), cluster.put, is_shared=True),
            options={**options, "max_concurrency": 4},
            need={"CPU": SHARE},
            worker=type("TimedSleeper", (Sleeper,), {"seconds": seconds}),
        )
        with workers_of as opened:
            yield opened
