"""What is seen of a drive: bars in a terminal, lines elsewhere."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from by_hand import different, evaluated, make_study
from rich.console import Console

from nas.candidates.candidate import Candidate
from nas.estimate import Expected, Plan
from nas.estimate.outlook import Outlook, usual_speed
from nas.executors.view import LINE_SECONDS, MOST_BARS, SILENT_SECONDS, TICK_SECONDS, Forecast, Screen, View, words_of
from nas.tasks import Progress, Task


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    return different(1)[0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def forecast_of(candidate: Candidate, left: Callable[[Sequence[Task]], float] = lambda _: 240.0) -> Forecast:
    study = make_study(training={"batch_size": 64})
    outlook = Outlook(Plan(study, usual_speed(), 640, 10, Expected((), (candidate,), 1.0, 0.0, 0)))
    return Forecast(outlook, left, lambda: 60.0)


@contextmanager
def seen(forecast: Forecast | None, *, terminal: bool = False) -> Iterator[tuple[View, Callable[[], str]]]:
    """A view, and all that was printed so far."""
    out = io.StringIO()
    console = Console(file=out, width=200, force_terminal=terminal, _environ={})
    with Screen(console, "search", 6, lambda: 2, lambda row: "1 failed", forecast).showing() as view:
        yield view, out.getvalue


def task_of(candidate: Candidate, number: int = 4) -> Task:
    return Task(number, candidate, "search", 0, 8, Path())


def training(epochs: float, rate: float = 1234.5) -> Progress:
    return Progress("train", "pruned", epochs, 8, 0.5, rate)


def test_what_was_told_in_words() -> None:
    assert words_of(None) == "waiting for a worker"
    assert words_of(Progress("measure")) == "measuring"
    assert words_of(Progress("train")) == "beginning to train"
    assert words_of(Progress("quantize")) == "quantizing a finished file"
    assert words_of(Progress("something new")) == "something new"
    assert words_of(training(3.25)) == "pruned, epoch 3.2 of 8, loss 0.500, 1,234 images/s"
    taught = words_of(replace(training(3.25), part="teach"))
    assert taught == "the teacher: pruned, epoch 3.2 of 8, loss 0.500, 1,234 images/s"
    assert "loss" not in words_of(replace(training(3.25), loss=None))


def test_without_a_terminal_there_is_a_line_for_an_epoch_and_not_too_many(
    candidate: Candidate, clock: list[float]
) -> None:
    task, other = task_of(candidate), task_of(candidate, 5)
    with seen(forecast_of(candidate)) as (view, text):
        for second in range(12):  # an epoch a second
            clock[0] = 1000 + second
            view.heard(task, training(second / 2))
        lines = text().splitlines()
        assert [line.split("epoch ")[1][:3] for line in lines] == ["1.0", "3.5"]
        assert all(line.startswith(f"    4  {candidate.id[:8]}  pruned") and line.endswith(" left") for line in lines)
        view.heard(other, training(1.0))
        assert len(text().splitlines()) == 3
        assert LINE_SECONDS == 5


def test_without_a_terminal_a_long_epoch_is_not_silent(candidate: Candidate, clock: list[float]) -> None:
    task = task_of(candidate)
    with seen(forecast_of(candidate)) as (view, text):
        for second in range(65):
            clock[0] = 1000 + second
            view.heard(task, training(0.5 + second / 1000))
        assert len(text().splitlines()) == 2
        assert SILENT_SECONDS == 30


def test_without_a_terminal_the_end_of_all_is_told_at_once_and_again_where_nothing_else_is(
    candidate: Candidate, clock: list[float]
) -> None:
    with seen(forecast_of(candidate)) as (view, text):
        for second in range(40):
            clock[0] = 1000 + second
            view.tick([])
        assert text().splitlines() == ["search: about 4.0 min left, all about 5.0 min"] * 2


def test_in_a_terminal_every_running_task_has_a_bar_until_it_ends(candidate: Candidate, clock: list[float]) -> None:
    task = task_of(candidate)
    with seen(forecast_of(candidate), terminal=True) as (view, _):
        view.tick([task])
        view.heard(task, training(3.25))
        clock[0] += TICK_SECONDS
        view.tick([task])
        main, own = view.bars.tasks
        assert (main.completed, main.total, main.fields["count"]) == (2, 6, "2/6")
        assert main.fields["note"] == "about 4.0 min left, all about 5.0 min, 1 failed"
        assert (own.completed, own.total, own.fields["count"]) == (3.25, 8, "3.2/8")
        assert own.description == f"    4  {candidate.id[:8]}"
        assert own.fields["note"].startswith("pruned, epoch 3.2 of 8, loss 0.500, 1,234 images/s, ")
        clock[0] += TICK_SECONDS
        view.tick([])
        assert view.bars.tasks == [main]
    assert main.fields["note"] == "1 failed"


def test_of_hundreds_that_run_a_terminal_shows_some_and_the_next_as_they_end(
    candidate: Candidate, clock: list[float]
) -> None:
    tasks = [task_of(candidate, number) for number in range(3 * MOST_BARS)]
    with seen(None, terminal=True) as (view, _):
        view.tick(tasks)
        assert len(view.bars.tasks) == 1 + MOST_BARS
        clock[0] += TICK_SECONDS
        view.tick(tasks[MOST_BARS - 1 :])
        shown = [bar.description.split()[0] for bar in view.bars.tasks[1:]]
        assert shown == [str(number) for number in range(MOST_BARS - 1, 2 * MOST_BARS - 1)]


def test_nothing_is_reckoned_more_often_than_once_a_second(candidate: Candidate, clock: list[float]) -> None:
    asked: list[float] = []

    def left(_: Sequence[Task]) -> float:
        asked.append(clock[0])
        return 1.0

    with seen(forecast_of(candidate, left), terminal=True) as (view, _):
        for _ in range(10):
            clock[0] += 0.25
            view.tick([])
    assert asked == [1000.25, 1001.25, 1002.25]


def test_how_long_what_runs_still_takes(candidate: Candidate) -> None:
    task = task_of(candidate)
    forecast = forecast_of(candidate)
    with seen(forecast) as (view, _):
        assert view.left_of([]) == ""
        assert view.left_of([task]).endswith(" s")
    with seen(None) as (view, text):
        view.heard(task, training(1.0))
        view.tick([task])
        assert view.left_of([task]) == ""
        view.finished(task, evaluated(task, make_study()))
        assert "left" not in text()
