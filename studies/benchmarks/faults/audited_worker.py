"""The package's worker, with a log of every epoch that is reported, and candidates that misbehave where they are told.

    studies/benchmarks/faults/audited_worker.py FOLDER --driver PID --answers DESCRIPTOR

FAULTS_EPOCHS names the log, FAULTS_CHECKPOINT_SECONDS how often a checkpoint is written at most, and FAULTS_MISBEHAVE
what one trial does after its first epoch: `hang:3` or `hog:3`.
"""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import nas.executors.worker
from nas.executors.worker import Line, main
from nas.run_folder.paths import RunFolder
from nas.tasks import Rung, Task, Verdict

CHUNK_BYTES = 50 * 10**6


class AuditedLine(Line):
    """Remembers whose epochs are reported."""

    _task: Task | None = None

    def hear(self) -> str:
        text = super().hear()
        if '"candidate"' in text:
            self._task = Task.from_line(text)
        return text

    def report(self, rung: Rung) -> Verdict:
        task = self._task
        assert task is not None
        note(task, rung)
        misbehave(task)
        return super().report(rung)


def note(task: Task, rung: Rung) -> None:
    """One line per epoch; the same line twice is an epoch that was trained again."""
    line = f"{task.phase} {task.number} {task.candidate.id} {task.seed} {rung.epochs:g}\n"
    descriptor = os.open(os.environ["FAULTS_EPOCHS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def misbehave(task: Task) -> None:
    """Do what this trial is to do, once it has trained an epoch."""
    how, _, number = os.environ.get("FAULTS_MISBEHAVE", "").partition(":")
    if task.phase != "search" or number != str(task.number):
        return
    if how == "hang":
        time.sleep(3600)
    if how == "hog":
        held = []
        while True:
            held.append(bytearray(os.urandom(1) * CHUNK_BYTES))


def sleep_by_select() -> None:
    """Sleep by what libfaketime leaves alone: it breaks the call behind `time.sleep` where clocks that only count on
    are not faked.
    """

    def sleep(seconds: float, /) -> None:
        select.select([], [], [], float(seconds))

    if "libfaketime" in os.environ.get("LD_PRELOAD", ""):
        time.sleep = sleep  # type: ignore[assignment]


def often() -> None:
    """Checkpoints as often as asked for."""
    import nas.training.stage_run

    nas.training.stage_run.SECONDS_BETWEEN_CHECKPOINTS = float(os.environ.get("FAULTS_CHECKPOINT_SECONDS", "2"))


if __name__ == "__main__":
    assert Path(os.environ["FAULTS_EPOCHS"]).is_absolute()
    nas.executors.worker.Line = AuditedLine  # type: ignore[misc]
    serve = nas.executors.worker.serve

    def served(folder: RunFolder, threads: int, line: Line) -> None:
        sleep_by_select()
        often()  # torch is imported now, once the process is bound to its driver
        serve(folder, threads, line)

    nas.executors.worker.serve = served
    main()
