"""Worker processes on this machine: kept alive between tasks, started anew when one dies, gone when the driver is."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from nas.executors.pool import Broke, Died, Event, Finished, Refused, TookTooLong
from nas.machine import cores
from nas.tasks import Task

# Every training step allocates the same megabytes anew. glibc would give them back to the kernel in between and have
# every page cleared again: a fifth to a third of a step. Other C libraries do not read this.
KEEP_MEMORY = {
    "GLIBC_TUNABLES": f"glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold={2**40}:glibc.malloc.top_pad={2**26}"
}
# What libraries and images may take to load. The data were decoded before the first worker starts.
START_SECONDS = 600.0


@dataclass
class _Worker:
    process: subprocess.Popen[str]
    errors: IO[str]
    task: Task | None = None
    started: bool = False
    since: float = field(default_factory=time.monotonic)

    def last_words(self) -> str:
        """How the process ended, with the last line it wrote to stderr."""
        code = self.process.wait()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors.read()[-4000:].splitlines() if line.strip()]
        how = f"worker killed by signal {-code}" if code < 0 else f"worker exited with code {code}"
        return f"{how}: {lines[-1]}" if lines else how


@dataclass
class LocalWorkers:
    """`count` processes over one run folder. Use as a context manager; leaving it ends them all.

    A task may take `limit_minutes` from its submission, or from when its worker was ready, if that came later; time
    while `excused` says so, workers being at what is for all candidates, does not count.
    """

    folder: Path
    count: int
    threads: int
    limit_minutes: Callable[[Task], float | None] = lambda _: None
    excused: Callable[[], bool] = lambda: False
    _workers: list[_Worker] = field(default_factory=list)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def __enter__(self) -> LocalWorkers:
        for _ in range(self.count):
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()
            self._close(worker)
        self._selector.close()

    @property
    def idle(self) -> int:
        return sum(worker.task is None for worker in self._workers)

    @property
    def running(self) -> list[Task]:
        return [worker.task for worker in self._workers if worker.task is not None]

    def submit(self, task: Task) -> None:
        """Give a task to an idle worker."""
        worker = next(worker for worker in self._workers if worker.task is None)
        worker.task = task
        if worker.started:
            worker.since = time.monotonic()
        assert worker.process.stdin is not None
        with suppress(BrokenPipeError):  # its death shows at the next wait, with the task
            worker.process.stdin.write(task.to_line() + "\n")
            worker.process.stdin.flush()

    def wait(self, timeout: float) -> list[Event]:
        """What happened within `timeout` seconds; dead workers are replaced."""
        events: list[Event] = []
        for key, _ in self._selector.select(timeout):
            worker: _Worker = key.data
            answers = os.read(key.fd, 65536)  # all of them: a line left in a buffer would wake nobody
            if not answers:
                events.append(Died(worker.task, worker.last_words(), worker.started))
                self._replace(worker)
            events += [event for line in answers.splitlines() if (event := self._heard(worker, json.loads(line)))]
        return events + self._late()

    @staticmethod
    def _heard(worker: _Worker, answer: dict[str, Any]) -> Event | None:
        if "refused" in answer:
            return Refused(answer["refused"])
        if not worker.started:
            worker.started, worker.since = True, time.monotonic()
        if "ready" in answer:
            return None
        assert worker.task is not None
        task, worker.task = worker.task, None
        return Broke(task, answer["broke"]) if "broke" in answer else Finished(task)

    def _late(self) -> list[Event]:
        """Kill who is over the limit. An answer that came meanwhile is looked at first: the folder tells."""
        events: list[Event] = []
        now = time.monotonic()
        for worker in list(self._workers):
            limit = self.limit_minutes(worker.task) if worker.task else None
            if limit is not None and worker.started and self.excused():
                worker.since = now
            if not worker.started and now - worker.since > START_SECONDS:
                events.append(Died(worker.task, f"worker not ready after {START_SECONDS:.0f} s", started=False))
            elif worker.started and worker.task and limit is not None and now - worker.since > 60 * limit:
                events.append(TookTooLong(worker.task))
            else:
                continue
            worker.process.kill()
            worker.process.wait()
            self._replace(worker)
        return events

    def _start(self) -> None:
        environment = {**KEEP_MEMORY, **os.environ, **worker_environment(self.threads)}
        errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed with the worker)
        command = [sys.executable, "-m", "nas.executors.worker", str(self.folder)]
        options = ["--driver", str(os.getpid()), "--threads", str(self.threads)]
        # A session of its own keeps the terminal's Ctrl-C away from the worker. Must run in the main thread: the
        # kernel ends a child bound to its parent when the starting thread ends.
        process = subprocess.Popen(
            command + options,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            start_new_session=True,
        )
        worker = _Worker(process, errors)
        self._workers.append(worker)
        assert process.stdout is not None
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)

    def _replace(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        self._selector.unregister(worker.process.stdout)
        self._close(worker)
        self._workers.remove(worker)
        self._start()

    @staticmethod
    def _close(worker: _Worker) -> None:
        for stream in (worker.process.stdin, worker.process.stdout, worker.errors):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


def worker_environment(threads: int) -> dict[str, str]:
    """What must be set before torch is imported: spinning threads would starve other workers and measurements."""
    return {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": str(threads)}


def threads_per_worker(workers: int, input_size: int) -> int:
    """Cores shared evenly; tiny images train fastest on one thread, since barriers cost more than they save."""
    return 1 if input_size < 32 else max(1, cores() // workers)
