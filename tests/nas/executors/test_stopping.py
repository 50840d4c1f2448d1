"""SIGTERM with a notice: what runs is paused, or ended when the notice is over; the same command goes on."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from by_hand import make_study
from rich.console import Console

from nas.executors.loop import MAX_START_DEATHS, drive
from nas.executors.pool import Died, Event, Paused, Reported
from nas.executors.stopping import TERMINATED, Interrupted, Stop, Terminated
from nas.executors.view import Screen
from nas.run_folder.paths import RunFolder
from nas.search.search import Search
from nas.study.file import dump_study
from nas.tasks import Rung, Task, Verdict


@dataclass
class Epochs:
    """An executor whose tasks report an epoch each time it is waited for; `pauses` says whether they heed PAUSE."""

    places: int
    before: Callable[[int], None]
    pauses: bool = True
    running: list[Task] = field(default_factory=list)
    answers: list[Verdict] = field(default_factory=list)
    waited: int = 0
    _ending: list[Task] = field(default_factory=list)

    @property
    def idle(self) -> int:
        return self.places - len(self.running)

    def submit(self, task: Task) -> None:
        self.running.append(task)

    def answer(self, task: Task, verdict: Verdict) -> None:
        self.answers.append(verdict)
        if verdict is Verdict.PAUSE and self.pauses:
            self._ending.append(task)

    def wait(self, timeout: float) -> list[Event]:
        self.before(self.waited)
        self.waited += 1
        if self._ending:
            task = self._ending.pop()
            self.running.remove(task)
            return [Paused(task)]
        time.sleep(0.001)
        return [Reported(task, Rung(self.waited, 1000)) for task in self.running[:1]]


def screen() -> Screen:
    return Screen(Console(quiet=True), "t", 3, lambda: 0, lambda row: "")


def term_at(look: int) -> Callable[[int], None]:
    return lambda waited: signal.raise_signal(signal.SIGTERM) if waited == look else None


def test_what_runs_is_paused_and_nothing_begins(folder: RunFolder) -> None:
    study = make_study(trials=9, workers=2, sampler="random")
    search, executor, shown = Search(study, folder), Epochs(2, term_at(3)), io.StringIO()
    with Stop(console=Console(file=shown)).listening() as stop, pytest.raises(Terminated) as ended:
        drive(search, executor, stop, screen())
    assert ended.value.code == TERMINATED == 143
    assert shown.getvalue() == "SIGTERM: what is running is paused at its next checkpoint.\n"
    assert executor.answers == [Verdict.CONTINUE] * 3 + [Verdict.PAUSE] * 2
    assert not executor.running
    begun = [search.notes(number).id for number in range(2)]
    again = Search(study, folder)
    assert [(task.candidate.id, task.attempt) for task in again.waiting] == [(name, 2) for name in begun]
    assert [trial.user_attrs["deaths"] for trial in again.journal.trials()] == [0, 0]


def test_the_notice_has_an_end(folder: RunFolder) -> None:
    executor = Epochs(1, term_at(2), pauses=False)
    stop = Stop(console=Console(quiet=True), notice_seconds=0.05)
    with stop.listening(), pytest.raises(Terminated):
        drive(Search(make_study(trials=9), folder), executor, stop, screen())
    assert len(executor.running) == 1
    assert set(executor.answers[2:]) == {Verdict.PAUSE}


def test_what_the_driver_stops_is_not_paused() -> None:
    stop = Stop(console=Console(quiet=True))
    assert [stop.verdict(verdict) for verdict in Verdict] == list(Verdict)
    with stop.listening(), stop.watching():
        signal.raise_signal(signal.SIGTERM)
    paused = {verdict: stop.verdict(verdict) for verdict in Verdict}
    assert paused == {
        Verdict.CONTINUE: Verdict.PAUSE, Verdict.PAUSE: Verdict.PAUSE, Verdict.STOP: Verdict.STOP,
    }  # fmt: skip


def test_it_ends_at_once_while_nobody_looks_and_the_handlers_go_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stop = Stop(console=Console(quiet=True))
    with pytest.raises(Terminated), stop.listening():
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_ctrl_c_after_it_ends_the_notice() -> None:
    stop = Stop(console=Console(quiet=True))
    with stop.listening(), stop.watching():
        signal.raise_signal(signal.SIGTERM)
        stop.check()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Terminated):
            stop.check()


def test_it_comes_after_ctrl_c() -> None:
    stop = Stop(console=Console(quiet=True))
    with stop.listening(), stop.watching():
        signal.raise_signal(signal.SIGINT)
        stop.check()
        assert stop.verdict(Verdict.CONTINUE) is Verdict.CONTINUE  # what runs is finished
        signal.raise_signal(signal.SIGTERM)
        stop.check()  # whoever pressed wanted no haste: the notice is used
        assert stop.verdict(Verdict.CONTINUE) is Verdict.PAUSE
    twice = Stop(console=Console(quiet=True))
    with twice.listening(), twice.watching():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Interrupted):
            twice.check()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Terminated):
            twice.check()


def test_workers_that_a_batch_system_ends_while_they_start_are_no_failure(folder: RunFolder) -> None:
    """It sends SIGTERM to every process, and a worker that has just begun does not ignore it yet."""

    class Starting(Epochs):
        def wait(self, timeout: float) -> list[Event]:
            self.before(self.waited)
            self.waited += 1
            ended, self.running = self.running, []
            return [Died(task, "worker killed by signal 15", started=False) for task in ended]

    executor = Starting(MAX_START_DEATHS, term_at(0))
    with Stop(console=Console(quiet=True)).listening() as stop, pytest.raises(Terminated):
        drive(Search(make_study(trials=9, sampler="random"), folder), executor, stop, screen())


def test_handlers_of_a_library_are_replaced_while_somebody_looks() -> None:
    """Ray puts its own, which end the process, when it is started."""
    stop = Stop(console=Console(quiet=True))
    with stop.listening():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with stop.watching():
            signal.raise_signal(signal.SIGTERM)
    assert stop.is_terminated


def test_a_worker_leaves_signals_to_the_driver(tmp_path: Path) -> None:
    """Batch systems send SIGTERM to every process of a job; it must not count as a candidate's death."""
    (tmp_path / "study.yaml").write_text(dump_study(make_study()))
    answers, theirs = os.pipe()
    command = [sys.executable, "-m", "nas.executors.worker", str(tmp_path), "--driver", str(os.getpid())]
    worker = subprocess.Popen([*command, "--answers", str(theirs)], stdin=subprocess.PIPE, pass_fds=(theirs,))
    os.close(theirs)
    try:
        ignored = 1 << (signal.SIGTERM - 1) | 1 << (signal.SIGINT - 1)
        deadline = time.monotonic() + 30
        while ignored_signals(worker.pid) & ignored != ignored:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        worker.kill()
        worker.wait()
        os.close(answers)
        assert worker.stdin is not None
        worker.stdin.close()


def ignored_signals(pid: int) -> int:
    """The mask of the signals that a process ignores."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("SigIgn:")), 16)
