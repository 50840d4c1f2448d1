"""The loop with workers made by hand: Ctrl-C, deaths, limits, a broken disk."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from by_hand import Run, Workers, different, evaluated, make_study, read
from rich.console import Console

import nas.executors.loop
import nas.executors.stopping
from nas.errors import InputError
from nas.estimate import Expected, Plan
from nas.estimate.outlook import Outlook, usual_speed
from nas.estimate.words import duration
from nas.executors.loop import drive
from nas.executors.pool import Broke, Died, Event, Finished, Paused, Refused, Reported, Told, TookTooLong
from nas.executors.stopping import Stop
from nas.executors.view import Forecast, Screen
from nas.records import State
from nas.run_folder.artifacts import pack
from nas.run_folder.paths import RunFolder, read_evaluation, write_evaluation
from nas.search.driver import Done, Wait
from nas.search.search import Search
from nas.tasks import Progress, Rung, Task, Verdict


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
        with pytest.raises(nas.executors.stopping.Interrupted):
            run({0: 2}, trials=30)
    trials = Search(make_study(trials=30, workers=2), folder).journal.trials()
    assert {trial.user_attrs["deaths"] for trial in trials} == {0}


def test_ctrl_c_twice_stops_at_once_while_nobody_looks() -> None:
    stop = Stop(console=Console(quiet=True))
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_says_how_long_what_runs_still_takes(folder: RunFolder) -> None:
    study = make_study(trials=3, finalists=0, workers=1)
    search, progress = Search(study, folder), Progress("train", "dense", 1.0, 8, 1.0, 50.0)
    outlook, alone = (
        Outlook(Plan(study, usual_speed(), 1000, 10, Expected((), tuple(different(1)), 1.0, 0.0, 0))) for _ in range(2)
    )
    shown, expected = io.StringIO(), list[str]()
    stop = Stop(console=Console(file=shown, width=200))

    def pressed(task: Task) -> Event:
        alone.hear(task, progress)
        expected.append(duration(alone.left(task)))
        signal.raise_signal(signal.SIGINT)
        return finished(task)

    screen = Screen(Console(quiet=True), "t", 3, lambda: 0, lambda row: "", Forecast(outlook, lambda _: 0.0))
    with stop.listening():
        drive(search, Played([lambda task: Told(task, progress), pressed]), stop, screen)
    assert shown.getvalue() == (f"Finishing what is running, about {expected[0]}; press Ctrl-C again to stop now.\n")
    assert expected[0].endswith("min")  # as slow as it says, and not as slow as usual
    assert len(search.rows()) == 1


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


def test_a_node_that_is_lost_while_its_workers_start_ends_no_run(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, lost = Workers.wait, [True] * nas.executors.loop.MAX_START_DEATHS

    def wait(self: Workers, seconds: float) -> list[Any]:
        if lost and lost.pop():
            return [Died(self.running.pop(0), "the node of its worker is gone", started=False, blamed=False)]
        return original(self, seconds)

    monkeypatch.setattr(Workers, "wait", wait)
    assert run(workers=1)
    assert {row["state"] for row in read(folder, "trials")} <= {"COMPLETE", "DUPLICATE"}


def quietly(driver: Any, executor: Any, stop: Stop | None = None) -> str:
    quiet = Console(quiet=True)
    return drive(driver, executor, stop or Stop(console=quiet), Screen(quiet, "t", 1, lambda: 0, lambda row: ""))


@dataclass
class Played:
    """An executor of one place that plays the given events; `heard` is all that it was told."""

    events: list[Callable[[Task], Event]]
    heard: list[Any] = field(default_factory=list)
    running: list[Task] = field(default_factory=list)

    @property
    def idle(self) -> int:
        return 1 - len(self.running)

    def submit(self, task: Task) -> None:
        self.heard.append(task.number)
        self.running.append(task)

    def answer(self, task: Task, verdict: Verdict) -> None:
        self.heard.append(verdict)

    def wait(self, _: float) -> list[Event]:
        event = self.events.pop(0)(self.running[0])
        if not isinstance(event, Reported | Told):
            self.running.clear()
        return [event]


@dataclass
class Rungs:
    """A driver that pauses a task at its first rung, runs another, and then goes on with it."""

    folder: RunFolder
    waiting: list[Task]
    set_aside: list[Task] = field(default_factory=list)
    told: list[tuple[int, State]] = field(default_factory=list)

    def propose(self) -> Task | Wait | Done:
        if self.waiting:
            return self.waiting.pop(0)
        return self.set_aside.pop(0) if self.set_aside else Done()

    def report(self, task: Task, rung: Rung) -> Verdict:
        return Verdict.PAUSE if (task.number, rung.epochs) == (0, 1) else Verdict.CONTINUE

    def paused(self, task: Task) -> None:
        self.set_aside.append(task)

    def finish(self, task: Task, evaluation: Any) -> None:
        self.told.append((task.number, evaluation.state))


def tasks_in(folder: RunFolder, count: int) -> list[Task]:
    candidate = different(1)[0]
    return [Task(i, candidate, "search", i, 8, folder.path / "artifacts" / str(i)) for i in range(count)]


def finished(task: Task) -> Event:
    write_evaluation(task.folder, evaluated(task, make_study()))
    return Finished(task, task.folder)


def reported(epochs: float) -> Callable[[Task], Event]:
    return lambda task: Reported(task, Rung(epochs, task.epochs))


def test_a_paused_task_makes_room_and_is_proposed_again(folder: RunFolder) -> None:
    driver = Rungs(folder, tasks_in(folder, 2))
    executor = Played([reported(1), Paused, reported(1), finished, reported(2), finished])
    assert quietly(driver, executor) == ""
    assert executor.heard == [0, Verdict.PAUSE, 1, Verdict.CONTINUE, 0, Verdict.CONTINUE]
    assert driver.told == [(1, State.COMPLETE), (0, State.COMPLETE)]


def test_todays_drivers_continue_and_take_a_paused_task_up_again(folder: RunFolder) -> None:
    search = Search(make_study(trials=1, finalists=0), folder)
    executor = Played([reported(1), Paused, reported(2), finished])
    assert quietly(search, executor) == ""
    assert executor.heard == [0, Verdict.CONTINUE, 0, Verdict.CONTINUE]
    assert [(row.state, row.attempts) for row in search.rows()] == [(State.COMPLETE, 1)]


def test_a_stopped_trial_is_pruned_and_does_not_count(folder: RunFolder) -> None:
    def pruned(task: Task) -> Event:
        write_evaluation(task.folder, evaluated(task, make_study(), State.PRUNED, epochs=2.0, reason="stopped"))
        return Finished(task, task.folder)

    search = Search(make_study(trials=1, finalists=0), folder)
    assert quietly(search, Played([pruned, finished])) == ""
    assert [row.state for row in search.rows()] == [State.PRUNED, State.COMPLETE]
    assert search.rows()[0].fidelity == 0.25
    again = Search(make_study(trials=1, finalists=0), folder)
    assert again.rows() == search.rows()


def bytes_of(task: Task, elsewhere: Path) -> bytes:
    write_evaluation(elsewhere, evaluated(task, make_study()))
    (elsewhere / "model.onnx").write_bytes(b"model")
    return pack(elsewhere)


@pytest.mark.parametrize("as_bytes", [True, False])
def test_a_result_from_elsewhere_is_brought_home(folder: RunFolder, tmp_path: Path, as_bytes: bool) -> None:
    def sent(task: Task) -> Event:
        data = bytes_of(task, tmp_path / "elsewhere")
        return Finished(task, data if as_bytes else tmp_path / "elsewhere")

    (task,) = tasks_in(folder, 1)
    driver = Rungs(folder, [task])
    quietly(driver, Played([sent]))
    assert driver.told == [(0, State.COMPLETE)]
    assert (task.folder / "model.onnx").read_bytes() == b"model"
    assert read_evaluation(task.folder) == read_evaluation(tmp_path / "elsewhere")


def test_a_result_that_cannot_be_used_is_a_death(folder: RunFolder, tmp_path: Path) -> None:
    """Torn, and another task's: proposed again; the third time the candidate is given up."""

    def torn(task: Task) -> Event:
        return Finished(task, bytes_of(task, tmp_path / "elsewhere")[:1000])

    def foreign(task: Task) -> Event:
        return Finished(task, bytes_of(replace(task, seed=99), tmp_path / "elsewhere"))

    search = Search(make_study(trials=1, finalists=0), folder)
    executor = Played([torn, foreign, torn, finished])
    assert quietly(search, executor) == ""
    assert executor.heard == [0, 0, 0, 1]
    first = search.rows()[0]
    assert first.state is State.FAILED
    assert first.reason.startswith("its result cannot be used: expected")
    assert first.reason.endswith("(death 3)")


def test_a_refused_study_ends_the_drive(folder: RunFolder) -> None:
    driver = Rungs(folder, tasks_in(folder, 1))
    with pytest.raises(InputError, match="no such data"):
        quietly(driver, Played([lambda _: Refused("no such data")]))
