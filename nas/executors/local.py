"""Worker processes on this machine: kept alive between tasks, replaced when one dies, ended with the driver."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from nas.executors.engine import OnThisMachine
from nas.executors.environment import KEEP_MEMORY, python_environment, worker_environment
from nas.executors.pool import (
    Broke,
    Died,
    Event,
    Executor,
    ExecutorSetup,
    Finished,
    Noticed,
    Paused,
    Refused,
    Reported,
    Told,
    TookTooLong,
    never,
    no_limit,
)
from nas.machine import allow_open_files
from nas.tasks import Progress, Rung, Task, Verdict

WORKER = (sys.executable, "-P", "-m", "nas.executors.worker")  # -P: the user's folder shadows no module
# What libraries and images may take to load. The data were decoded before the first worker starts.
START_SECONDS = 600.0
FILES, FILES_OF_A_WORKER = 512, 4  # open: the driver's own, and of each worker its pipes and what it prints


def open_local(setup: ExecutorSetup) -> AbstractContextManager[Executor]:
    """The engine `local`: one worker process per place."""
    elsewhere = any(target.is_elsewhere for target in setup.study.targets)
    return LocalWorkers(
        setup.folder.path,
        setup.workers,
        setup.threads,
        setup.limit_minutes,
        setup.excused,
        waits_for_devices=elsewhere,
    )


LOCAL = OnThisMachine(open_local)  # a row of nas.registry.ENGINES


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    answers: int  # a descriptor that only the worker's own lines come through
    errors: IO[bytes]
    task: Task | None = None
    part: str = ""  # what the task is at
    started: bool = False
    spent: bool = False  # its memory is used up: no task after this one
    since: float = field(default_factory=time.monotonic)
    unread: bytes = b""  # the beginning of a line

    def send(self, line: str) -> None:
        """Write a line to the worker; if it is dead, that shows at the next wait, with its task."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{line}\n".encode())
            self.process.stdin.flush()

    def receive(self) -> list[dict[str, Any]] | None:
        """The worker's answers, one per whole line; None when it has ended."""
        # Everything that is there: a line left in a buffer would wake nobody.
        if not (came := os.read(self.answers, 65536)):
            return None
        *lines, self.unread = (self.unread + came).split(b"\n")
        return [json.loads(line) for line in lines]

    def last_words(self) -> str:
        """How the process ended, with the last line it wrote to stdout or stderr."""
        code = self.process.wait()
        self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - 4000))
        lines = [line.strip() for line in self.errors.read().decode(errors="replace").splitlines() if line.strip()]
        how = f"worker killed by signal {-code}" if code < 0 else f"worker exited with code {code}"
        return f"{how}: {lines[-1]}" if lines else how

    def close(self) -> None:
        assert self.process.stdin is not None
        os.close(self.answers)
        self.errors.close()
        with suppress(BrokenPipeError):
            self.process.stdin.close()


@dataclass
class LocalWorkers:
    """`count` processes over one run folder. Use as a context manager; leaving it ends them all.

    A task may take `limit_minutes` from its submission, or from when its worker was ready, if that came later; time
    while `excused` says so, because workers do something that serves all candidates, does not count. Nor does that of
    measuring where it `waits_for_devices` elsewhere. `command` starts a worker; the run folder and the worker's options
    are appended.
    """

    folder: Path
    count: int
    threads: int
    limit_minutes: Callable[[Task], float | None] = no_limit
    excused: Callable[[], bool] = never
    waits_for_devices: bool = False
    command: Sequence[str] = WORKER
    _workers: list[_Worker] = field(default_factory=list)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def __enter__(self) -> LocalWorkers:
        allow_open_files(FILES + FILES_OF_A_WORKER * self.count)
        for _ in range(self.count):
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()
            worker.close()
        self._selector.close()

    @property
    def idle(self) -> int:
        return sum(worker.task is None for worker in self._workers)

    @property
    def running(self) -> list[Task]:
        return [worker.task for worker in self._workers if worker.task is not None]

    @property
    def pids(self) -> list[int]:
        """The processes there are now."""
        return [worker.process.pid for worker in self._workers]

    def submit(self, task: Task) -> None:
        """Give a task to an idle worker."""
        worker = next(worker for worker in self._workers if worker.task is None)
        worker.task, worker.part = task, ""
        if worker.started:
            worker.since = time.monotonic()
        worker.send(task.to_line())

    def answer(self, task: Task, verdict: Verdict) -> None:
        """Tell the worker of `task` what its report leads to; one that has ended meanwhile needs no answer."""
        for worker in self._workers:
            if worker.task == task:
                worker.send(json.dumps({"verdict": verdict}))

    def wait(self, timeout: float) -> list[Event]:
        """What happened within `timeout` seconds; dead workers are replaced."""
        events: list[Event] = []
        for key, _ in self._selector.select(timeout):
            worker: _Worker = key.data
            answers = worker.receive()
            if answers is None:
                events.append(Died(worker.task, worker.last_words(), worker.started))
                self._replace(worker)
            else:
                events += [event for answer in answers if (event := _event_of(worker, answer))]
                if worker.spent:
                    worker.process.kill()
                    worker.process.wait()
                    self._replace(worker)
        return events + self._late()

    def _late(self) -> list[Event]:
        """Kill workers over the limit. Where one has just finished, the driver finds its evaluation in the folder."""
        events: list[Event] = []
        now = time.monotonic()
        for worker in list(self._workers):
            limit = self.limit_minutes(worker.task) if worker.task else None
            if limit is not None and worker.started and (self._measures_elsewhere(worker) or self.excused()):
                worker.since = now
            if not worker.started and now - worker.since > START_SECONDS:
                events.append(Died(worker.task, f"worker not ready after {START_SECONDS:.0f} s", started=False))
            elif worker.started and worker.task and limit and now - worker.since > self._allowed_s(worker, limit):
                events.append(TookTooLong(worker.task))
                for other in self._workers:
                    if other.part == "measure":  # it may have waited for this one all the time
                        other.since = now
            else:
                continue
            worker.process.kill()
            worker.process.wait()
            self._replace(worker)
        return events

    def _allowed_s(self, worker: _Worker, limit_minutes: float) -> float:
        """Twice the limit while it measures beside others: it may wait for one that hangs, and is ended by its own."""
        waits = worker.part == "measure" and self.count > 1
        return 60 * limit_minutes * (2 if waits else 1)

    def _measures_elsewhere(self, worker: _Worker) -> bool:
        return self.waits_for_devices and worker.part == "measure"

    def _start(self) -> None:
        answers, theirs = os.pipe()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the worker)
        options = {"--driver": os.getpid(), "--threads": self.threads, "--answers": theirs}
        # Whatever a library prints goes where errors go: it must not look like an answer. A session of its own keeps
        # the terminal's Ctrl-C away from the worker. Must run in the main thread: the kernel ends a child bound to its
        # parent when the starting thread ends.
        try:
            process = subprocess.Popen(
                [*self.command, str(self.folder), *(str(word) for option in options.items() for word in option)],
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                pass_fds=(theirs,),
                env={**KEEP_MEMORY, **os.environ, **worker_environment(self.threads), **python_environment()},
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        worker = _Worker(process, answers, errors)
        self._workers.append(worker)
        self._selector.register(answers, selectors.EVENT_READ, worker)

    def _replace(self, worker: _Worker) -> None:
        self._selector.unregister(worker.answers)
        worker.close()
        self._workers.remove(worker)
        self._start()


def _event_of(worker: _Worker, answer: dict[str, Any]) -> Event | None:
    """The event that a worker's answer stands for; it is idle after all but notices, reports and progress."""
    if "refused" in answer:
        return Refused(answer["refused"])
    if "notice" in answer:
        return Noticed(answer["notice"])
    if not worker.started:
        worker.started, worker.since = True, time.monotonic()
    if "ready" in answer:
        return None
    task = worker.task
    assert task is not None, f"an idle worker said {answer}"
    if "progress" in answer:
        worker.part = answer["progress"]["part"]
        return Told(task, Progress(**answer["progress"]))
    if "rung" in answer:
        return Reported(task, Rung(**answer["rung"]))
    worker.task, worker.spent = None, answer.get("spent", False)
    if "broke" in answer:
        return Broke(task, answer["broke"])
    return Paused(task) if "paused" in answer else Finished(task, task.folder)
