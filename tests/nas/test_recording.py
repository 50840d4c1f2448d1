"""Seconds of an evaluation that takes more than one attempt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from by_hand import different, evaluated, make_study

import nas.recording
from nas.recording import Clock, noting
from nas.run_folder.attempts import Spent, note_spent, spent_before
from nas.run_folder.paths import write_evaluation
from nas.tasks import Rung, Task, Verdict


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only the test advances."""
    time = [100.0]
    monkeypatch.setattr(nas.recording.time, "perf_counter", lambda: time[0])
    monkeypatch.setattr(nas.recording.time, "monotonic", lambda: time[0])
    return time


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task(0, different(1)[0], "search", 0, 8, tmp_path / "artifact", rungs=(0.5,))


def test_a_lost_attempt_has_noted_its_seconds_and_the_next_goes_on_from_them(task: Task, now: list[float]) -> None:
    clock = Clock.of(task)
    assert clock.seconds == {}
    report = noting(task, clock, lambda _: Verdict.CONTINUE)
    with clock("train"):
        for _ in range(5):
            now[0] += 1.5
            assert report(Rung(1, 8)) is Verdict.CONTINUE
    assert dict(spent_before(task.folder).seconds) == {"train": 6.0}  # every 2 seconds at most
    again = Clock.of(replace(task, attempt=2))
    assert again.started_at == clock.started_at
    with again("train"):
        now[0] += 10.0
    assert again.so_far() == {"train": 16.0}


def test_a_pause_is_noted_at_once(task: Task, now: list[float]) -> None:
    clock = Clock()
    with clock("train"):
        now[0] += 0.5
        assert noting(task, clock, lambda _: Verdict.PAUSE)(Rung(1, 8)) is Verdict.PAUSE
    assert dict(spent_before(task.folder).seconds) == {"train": 0.5}


def test_the_longer_of_the_last_rung_and_the_note_counts(task: Task) -> None:
    """A rung is recorded with all seconds until then, and has no note of its own."""
    record = evaluated(task, make_study(), seconds={"train": 4.0}, started_at="2030-01-01T00:00:00+00:00")
    write_evaluation(task.at_rung(0.5).folder, record)
    assert (Clock.of(task).seconds, Clock.of(task).started_at) == ({"train": 4.0}, record.started_at)
    for seconds, expected in ((3.0, 4.0), (5.0, 5.0)):
        note_spent(task.folder, Spent({"train": seconds}, "2031-01-01T00:00:00+00:00"))
        assert Clock.of(task).seconds == {"train": expected}
