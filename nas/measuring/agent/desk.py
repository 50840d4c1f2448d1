"""The agent's queue: requests are worked at one after the other, by the one thread that the measuring process ends
with.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

from nas.measuring.agent.exchange import Outcome

PLACES = 8  # of requests that wait or are worked at; their files lie on the device's disk


class Asked(Protocol):
    """What answers, here: the measuring process."""

    def ask(self, question: Mapping[str, Any], file: IO[bytes] | None) -> dict[str, Any]: ...

    def close(self) -> None: ...


@dataclass
class Job:
    """A request; `done` is set when it is answered. One whose client has gone is `dropped` and not begun."""

    question: Mapping[str, Any]
    file: IO[bytes] | None
    answer: dict[str, Any] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)
    dropped: bool = False


class Desk:
    """Use as a context manager; at its end what is being measured is finished within `grace_seconds`."""

    def __init__(self, bench: Asked, *, grace_seconds: float = 10.0) -> None:
        self._bench, self._grace_seconds = bench, grace_seconds
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._work, name="measuring", daemon=True)
        self.places = threading.BoundedSemaphore(PLACES)  # to be taken before a request's file is received

    def __enter__(self) -> Desk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        self._thread.join(self._grace_seconds)
        self._bench.close()
        self._thread.join()

    def leave(self) -> None:
        """Begin nothing more; whoever waits is told."""
        self._leaving.set()
        self._jobs.put(None)

    def submit(self, question: Mapping[str, Any], file: IO[bytes] | None = None) -> Job:
        job = Job(question, file)
        self._jobs.put(job)
        if self._leaving.is_set():
            self._tell_waiting()
        return job

    def _work(self) -> None:
        while not self._leaving.is_set() and (job := self._jobs.get()) is not None:
            if self._leaving.is_set():
                self._jobs.put(job)
            else:
                job.answer = {} if job.dropped else self._asked(job)
                job.done.set()
        self._tell_waiting()

    def _asked(self, job: Job) -> dict[str, Any]:
        try:
            return self._bench.ask(job.question, job.file)
        except Exception as error:  # without this thread everybody would wait for ever
            return {Outcome.UNABLE: f"internal error: {type(error).__name__}"}

    def _tell_waiting(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None:
                job.answer = {Outcome.UNABLE: "the agent ends"}
                job.done.set()
