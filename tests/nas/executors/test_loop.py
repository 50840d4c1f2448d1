"""The loop with workers made by hand: Ctrl-C, deaths, limits, a broken disk."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from by_hand import Run, Workers, make_study, read
from rich.console import Console

import nas.executors.loop
from nas.executors.loop import Stop
from nas.executors.pool import Broke, Died, TookTooLong
from nas.run_folder.paths import RunFolder
from nas.search.search import Search


def test_ctrl_c_once_finishes_what_is_running(folder: RunFolder, run: Run) -> None:
    assert not run({2: 1})
    before = read(folder, "trials")
    assert sum(row["state"] == "COMPLETE" for row in before) == 4  # two were done, two were running
    assert not (folder.path / "finalists.csv").exists()
    front = read(folder, "front")
    assert front
    assert all(row["test_accuracy"] == "" and row["artifact"].endswith("/search-0") for row in front)
    assert run()
    assert read(folder, "trials")[: len(before)] == before
    assert {row["attempts"] for row in read(folder, "trials")} == {"1"}


def test_ctrl_c_twice_stops_now_and_is_no_death(folder: RunFolder, run: Run) -> None:
    for _ in range(4):
        with pytest.raises(nas.executors.loop.Interrupted):
            run({0: 2}, trials=30)
    trials = Search(make_study(trials=30, workers=2), folder).journal.trials()
    assert {trial.user_attrs["deaths"] for trial in trials} == {0}


def test_ctrl_c_twice_stops_at_once_while_nobody_looks() -> None:
    stop = Stop(console=Console(quiet=True))
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_first_deaths_of_workers_are_not_the_candidates(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workers, "submit", lambda self, task: self.running.append(task))
    monkeypatch.setattr(Workers, "wait", lambda self, _: [Died(self.running.pop(0), "no torch", started=False)])
    with pytest.raises(nas.executors.loop.WorkFailed, match="workers do not start: no torch"):
        run()
    assert Search(make_study(trials=6), folder).journal.trials()[0].user_attrs["deaths"] == 0


def test_too_long_is_told_and_the_run_goes_on(folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    original, late = Workers.wait, [True]

    def wait(self: Workers, seconds: float) -> list[Any]:
        return [TookTooLong(self.running.pop(0))] if late.pop() else original(self, seconds)

    monkeypatch.setattr(Workers, "wait", lambda self, s: wait(self, s) if late else original(self, s))
    assert run(trial_minutes=0.1, workers=1)
    trials = read(folder, "trials")
    assert (trials[0]["state"], trials[0]["reason"]) == ("FAILED", "took longer than search.trial_minutes 0.1")
    assert sum(row["state"] == "COMPLETE" for row in trials) == 6


def test_a_broken_disk_ends_the_run_and_costs_no_candidate(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Workers, "wait", lambda self, _: [Broke(self.running.pop(0), "No space left on device")])
        with pytest.raises(
            nas.executors.loop.WorkFailed, match="run: No space left on device; nothing finished is lost"
        ):
            run()
    assert run()
    trials = read(folder, "trials")
    assert trials[0]["state"] == "COMPLETE"
    assert {row["state"] for row in trials} <= {"COMPLETE", "DUPLICATE"}


def test_a_candidate_that_kills_its_workers_costs_itself_alone(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three deaths over the first candidate, and one of a worker that had nothing to do."""
    original, left = Workers.wait, [True, True, False, True]

    def wait(self: Workers, seconds: float) -> list[Any]:
        if not left:
            return original(self, seconds)
        return [Died(self.running.pop(0) if left.pop() else None, "worker killed by signal 9", started=True)]

    monkeypatch.setattr(Workers, "wait", wait)
    assert run(workers=1)
    trials = read(folder, "trials")
    assert (trials[0]["state"], trials[0]["reason"]) == ("FAILED", "worker killed by signal 9 (death 3)")
    assert sum(row["state"] == "COMPLETE" for row in trials) == 6


def test_first_deaths_count_in_a_row(folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    original, dies = Workers.wait, [False, True, True, False, True, True]

    def wait(self: Workers, seconds: float) -> list[Any]:
        if dies and dies.pop():
            return [Died(self.running.pop(0), "no torch", started=False)]
        return original(self, seconds)

    monkeypatch.setattr(Workers, "wait", wait)
    assert run(workers=1)
    assert {row["state"] for row in read(folder, "trials")} <= {"COMPLETE", "DUPLICATE"}
