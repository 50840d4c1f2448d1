from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from by_hand import different, evaluated, make_study
from rich.console import Console

from nas.executors import heart
from nas.executors.heart import Heart
from nas.executors.log import RunLog
from nas.executors.pool import Broke, Died, Paused, Refused, Reported, Told, TookTooLong
from nas.executors.watching import INTERRUPTED, STOPPED, TERMINATED
from nas.process import Process
from nas.records import State
from nas.run_folder.heartbeat import Ending, Heartbeat, Life, look, read_heartbeat
from nas.run_folder.log import Level, LogFile, LogLine, read_log
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import row_of
from nas.tasks import Progress, Rung, Task

STUDY = make_study(workers=3)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.fixture
def task(folder: RunFolder) -> Task:
    return Task(4, different(1)[0], "search", 1, 8, folder.path / "artifacts", attempt=2)


def beat(folder: RunFolder) -> Heartbeat:
    found = read_heartbeat(folder)
    assert found is not None
    return found


def last(folder: RunFolder) -> LogLine:
    return read_log(folder)[-1]


def test_a_driver_says_who_it_is_and_how_it_ended(folder: RunFolder) -> None:
    log = RunLog()
    log.began(STUDY, folder)
    (line,) = read_log(folder)
    assert (line.event, line.more["pid"], line.more["engine"]) == ("began", Process.here().pid, "local")
    assert "engine local, 3 workers" in line.words
    assert look(folder).life is Life.RUNNING
    log.ended(folder, "")
    assert last(folder).words == "the driver ended: all is done"
    assert look(folder).life is Life.OVER


@pytest.mark.parametrize(
    ("problem", "ending", "level"),
    [
        (STOPPED, Ending.STOPPED, Level.INFO),
        (INTERRUPTED, Ending.STOPPED, Level.INFO),
        (TERMINATED, Ending.STOPPED, Level.INFO),
        ("no space left", Ending.FAILED, Level.ERROR),
    ],
)
def test_a_wish_is_no_problem(folder: RunFolder, problem: str, ending: Ending, level: Level) -> None:
    log = RunLog()
    log.began(STUDY, folder)
    log.ended(folder, problem)
    assert (last(folder).level, last(folder).words) == (level, f"the driver ended: {problem}")
    assert (beat(folder).ending, beat(folder).problem) == (ending, problem if ending is Ending.FAILED else "")


def test_the_heartbeat_says_what_runs_and_what_is_expected(
    folder: RunFolder, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heart, "BEAT_SECONDS", 0.01)
    log = RunLog()
    log.began(STUDY, folder)
    log.started(task)
    log.happened(Told(task, Progress("measure")))
    log.expects(90.0)
    wait_for(lambda: beat(folder).running and beat(folder).left_seconds == 90.0)
    (running,) = beat(folder).running
    assert (running.phase, running.number, running.id, running.words) == ("search", 4, task.candidate.id, "measuring")
    assert 0 <= running.seconds < 60
    row = row_of(evaluated(task, STUDY), number=4, artifact="artifacts/x", params={})
    log.over(task, None, row)
    wait_for(lambda: not beat(folder).running)
    log.ended(folder, "")
    count = beat(folder).count
    time.sleep(0.05)
    assert beat(folder).count == count  # its thread has ended


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_every_event_is_a_line_that_names_its_trial(folder: RunFolder, task: Task) -> None:
    log, name = RunLog(), f"trial 4 ({task.candidate.id[:8]})"
    log.began(STUDY, folder)
    log.started(task)
    assert last(folder).words == f"{name} begins, attempt 2"
    expected = [
        (Reported(task, Rung(2.0, 8, 0.25, {"accuracy": 0.5})), Level.DEBUG, f"{name} is at rung 0.25"),
        (Paused(task), Level.INFO, f"{name} is paused; its checkpoint is kept"),
        (Died(task, "worker killed by signal 9", started=True), Level.WARNING,
         f"{name} lost its worker: worker killed by signal 9"),
        (Died(None, "gone", started=True), Level.WARNING, "an idle worker died: gone"),
        (TookTooLong(task), Level.WARNING, f"{name} took too long; its worker was killed"),
        (Broke(task, "no space"), Level.ERROR, f"{name} cannot go on: no space"),
        (Refused("no cuda"), Level.ERROR, "a worker refuses the study: no cuda"),
    ]  # fmt: skip
    for event, level, words in expected:
        log.happened(event)  # type: ignore[arg-type]
        assert (last(folder).level, last(folder).words) == (level, words)
    log.ended(folder, "")


def test_an_end_says_what_became_of_it(folder: RunFolder, task: Task) -> None:
    log = RunLog()
    log.began(STUDY, folder)
    complete = evaluated(task, STUDY)
    log.over(task, complete, row_of(complete, number=4, artifact="artifacts/x", params={}))
    assert complete.validation is not None
    assert last(folder).words.endswith(f"is complete after 0.8 s: accuracy {complete.validation.accuracy:.2%}")
    assert last(folder).more["state"] == "COMPLETE"
    assert (last(folder).more["phase"], last(folder).more["number"]) == ("search", 4)
    failed = evaluated(task, STUDY, State.FAILED, reason="diverged", error="X")
    log.over(task, failed, row_of(failed, number=4, artifact="artifacts/x", params={}))
    assert (last(folder).level, last(folder).words.endswith("is failed after 0.8 s: diverged")) == (Level.WARNING, True)
    log.ended(folder, "")


def test_what_is_shown_as_a_warning_is_in_the_log(folder: RunFolder) -> None:
    console = Console(file=io.StringIO())
    log = RunLog(console)
    log.began(STUDY, folder)
    console.print("[yellow]warning:[/] mind the gap", soft_wrap=True)
    console.print("[yellow]The search ended early: x.[/]")
    console.print("[dim]nothing[/]", "of note")
    with console.status("at work"):  # a live display hooks in as well
        console.print("[red]much worse[/]")
    log.ended(folder, "")
    console.print("[yellow]too late[/]")
    shown = [(line.level, line.words) for line in read_log(folder) if line.event == "shown"]
    assert shown == [
        (Level.WARNING, "mind the gap"), (Level.WARNING, "The search ended early: x."), (Level.ERROR, "much worse"),
    ]  # fmt: skip


def test_lines_of_two_threads_do_not_meet(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What becomes of a run's database is shown by the thread that copies into it."""
    log, meetings, busy, real = RunLog(), list[str](), threading.Lock(), LogFile.write

    def slow(self: LogFile, level: Level, event: str, words: str, **more: object) -> None:
        if not busy.acquire(blocking=False):
            meetings.append(words)
            return
        time.sleep(0.002)
        real(self, level, event, words, **more)
        busy.release()

    monkeypatch.setattr(LogFile, "write", slow)
    log.began(STUDY, folder)
    other = threading.Thread(target=lambda: [log.note(Level.INFO, "shown", "there") for _ in range(10)])
    other.start()
    for _ in range(10):
        log.note(Level.INFO, "shown", "here")
    other.join()
    log.ended(folder, "")
    assert not meetings
    assert len(read_log(folder)) == 22


def test_a_disk_that_takes_no_beat_is_tried_again(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heart, "BEAT_SECONDS", 0.01)
    real, tried = heart.write_heartbeat, list[int]()

    def full(folder: RunFolder, beat: Heartbeat) -> None:
        tried.append(beat.count)
        if len(tried) < 3:
            raise OSError(28, "No space left on device")
        real(folder, beat)

    monkeypatch.setattr(heart, "write_heartbeat", full)
    own = Heart(folder, dict)
    own.start()
    wait_for(lambda: folder.heartbeat.exists())
    own.stop(ending=Ending.OVER)
    assert json.loads(folder.heartbeat.read_text())["ending"] == "over"


def test_a_line_that_the_disk_does_not_take_stops_nobody(
    folder: RunFolder, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where it is a warning on the screen that is to be noted."""
    console = Console(file=io.StringIO())
    log = RunLog(console)
    log.began(STUDY, folder)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(LogFile, "write", full)
        log.started(task)
        console.print("[yellow]The disk is full.[/]")
    log.ended(folder, "no space")
    assert [line.event for line in read_log(folder)] == ["began", "ended"]
    assert look(folder).life is Life.FAILED
