from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from rich.console import Console
from tracked import Example

from nas.executors.pool import Reported, Told
from nas.executors.watching import INTERRUPTED, Watchers
from nas.records import State
from nas.registry import TRACKERS
from nas.run_folder.columns import finalist_columns
from nas.run_folder.tables import write_rows
from nas.tasks import Progress, Rung
from nas.tracking import background
from nas.tracking.background import Background
from nas.tracking.record import Tracked
from nas.tracking.tracker import TrackedRun


@dataclass
class Remembering:
    """A store that remembers the calls; `known` are ended already, `wait` is done before each end."""

    run: TrackedRun
    known: set[str] = field(default_factory=set)
    wait: Callable[[], object] = lambda: None
    calls: list[tuple[str, object]] = field(default_factory=list)

    def has(self, key: str) -> bool:
        return key in self.known

    def begin(self, trial: Tracked) -> None:
        self.calls.append(("begin", trial.key))

    def progress(self, key: str, epochs: float, values: Mapping[str, float]) -> None:
        self.calls.append((f"progress {key}", (epochs, dict(values))))

    def end(self, trial: Tracked) -> None:
        self.wait()
        self.known.add(trial.key)
        self.calls.append(("end", trial.key))

    def total(self, step: int, values: Mapping[str, float]) -> None:
        self.calls.append(("total", (step, dict(values))))

    def close(self, artifacts: Sequence[Path], *, is_over: bool) -> None:
        self.calls.append(("close", ([file.name for file in artifacts], is_over)))


@dataclass
class Opening:
    """A row of TRACKERS: opens one store after the other, each with what the last one knew."""

    wait: Callable[[], object] = lambda: None
    stores: list[Remembering] = field(default_factory=list)

    def __call__(self, run: TrackedRun) -> Remembering:
        known = set(self.stores[-1].known) if self.stores else set()
        self.stores.append(Remembering(run, known, self.wait))
        return self.stores[-1]


@pytest.fixture
def opening(monkeypatch: pytest.MonkeyPatch) -> Opening:
    rows = Opening()
    monkeypatch.setitem(TRACKERS, "toy", rows)
    return rows


@pytest.fixture
def without_tables(example: Example) -> Example:
    """As it is while nothing has ended."""
    example.folder.trials.unlink()
    example.folder.finalists.unlink()
    return example


def test_what_a_search_tells_reaches_the_store_in_order(without_tables: Example, opening: Opening) -> None:
    example, tracker = without_tables, Background("toy")
    task, row = example.tasks[0], example.rows[0]
    tracker.began(example.study, example.folder)
    tracker.started(task)
    for epochs in (0.5, 1.2, 1.7, 2.0):  # one point for every epoch
        tracker.happened(Told(task, Progress("train", "dense", epochs, 8, loss=epochs, images_per_second=9.0)))
    tracker.happened(Told(task, Progress("measure")))
    tracker.happened(Reported(task, Rung(2.0, 8, 0.25, {"accuracy": 0.4})))
    tracker.over(task, example.evaluations[0], row)
    tracker.ended(example.folder, "")
    (store,) = opening.stores
    assert store.calls == [
        ("begin", "search-0"),
        ("progress search-0", (1.2, {"loss": 1.2, "images_per_second": 9.0})),
        ("progress search-0", (2.0, {"loss": 2.0, "images_per_second": 9.0})),
        ("progress search-0", (2.0, {"rung/accuracy": 0.4})),
        ("end", "search-0"),
        ("total", (1, {"best/accuracy": row.accuracy})),
        ("close", (["front.csv", "report.html", "study.yaml"], True)),
    ]


def test_the_best_of_a_run_that_goes_on_does_not_fall(example: Example, opening: Opening) -> None:
    best, tracker = example.rows[0], Background("toy")
    assert best.accuracy is not None
    tracker.began(example.study, example.folder)
    tracker.over(example.tasks[2], None, replace(best, number=2, accuracy=best.accuracy / 2))
    tracker.ended(example.folder, "")
    assert ("total", (3, {"best/accuracy": best.accuracy})) in opening.stores[0].calls


def test_what_was_missed_is_told_at_the_start_and_nothing_twice(example: Example, opening: Opening) -> None:
    for _ in range(2):
        tracker = Background("toy")
        tracker.began(example.study, example.folder)
        tracker.ended(example.folder, "stopped before the end")
    first, second = opening.stores
    assert [key for call, key in first.calls if call == "end"] == [
        "search-0", "search-1", f"{example.tasks[3].candidate.id}-final-0",
    ]  # fmt: skip
    assert [call for call, _ in second.calls] == ["close"]
    assert second.calls[0][1] == (["front.csv", "report.html", "study.yaml"], False)
    assert first.run.key == second.run.key


def test_what_the_driver_finished_without_a_word_is_told_at_the_end(example: Example, opening: Opening) -> None:
    """A duplicate is never given to a worker; nor is what a dead driver left to be told."""
    whole = example.folder.trials.read_text()
    example.folder.trials.write_text(whole.split("\n")[0] + "\n")
    tracker = Background("toy")
    tracker.began(example.study, example.folder)
    tracker.started(example.tasks[2])
    wait_for(lambda: opening.stores[0].calls)
    example.folder.trials.write_text(whole)
    tracker.ended(example.folder, "")
    ends = [key for call, key in opening.stores[0].calls if call == "end"]
    assert ends[-2:] == ["search-0", "search-1"]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = threading.Event()
    for _ in range(1000):
        if condition():
            return
        deadline.wait(0.005)
    raise AssertionError("it did not happen within 5 s")


def test_of_a_retry_its_last_end_is_told(example: Example, opening: Opening) -> None:
    """A finalist that is trained again has the folder, and so the key, of the one that failed."""
    failed = replace(example.rows[2], state=State.FAILED, reason="diverged")
    write_rows(example.folder.finalists, finalist_columns(example.study), [failed, example.rows[2]])
    tracker = Background("toy")
    tracker.began(example.study, example.folder)
    tracker.ended(example.folder, "")
    final = f"{example.tasks[3].candidate.id}-final-0"
    assert [key for call, key in opening.stores[0].calls if call == "end"].count(final) == 1


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_slow_store_holds_nobody_up(
    without_tables: Example, opening: Opening, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "MOST_QUEUED", 5)
    monkeypatch.setattr(background, "HASTE_SECONDS", 0.05)
    opening.wait = gate.wait
    example, tracker = without_tables, Background("toy")
    tracker.began(example.study, example.folder)
    for _ in range(100):
        tracker.over(example.tasks[0], example.evaluations[0], example.rows[0])
    with pytest.raises(background.TrackerFailed, match="not done after 0 s; what is missing is told at the next"):
        tracker.ended(example.folder, INTERRUPTED)
    gate.set()
    wait_for(lambda: opening.stores[0].calls[-1:] and opening.stores[0].calls[-1][0] == "close")
    assert len(opening.stores[0].calls) <= 5 + 2  # the queue is bounded; its end is always told


def test_a_broken_store_ends_the_tracker_and_not_the_search(without_tables: Example, opening: Opening) -> None:
    def fail() -> None:
        raise ConnectionError("https://me:secret@host/api\nrefused")

    opening.wait = fail
    example, console = without_tables, Console(record=True, width=300, quiet=False, file=io.StringIO())
    watchers = Watchers([Background("toy")], console)
    watchers.began(example.study, example.folder)
    watchers.over(example.tasks[0], example.evaluations[0], example.rows[0])
    wait_for(lambda: watchers._left[0]._problem)  # type: ignore[attr-defined]
    for _ in range(3):
        watchers.started(example.tasks[1])
    watchers.ended()
    text = console.export_text()
    assert text.count("toy is told nothing more") == 1
    assert "ConnectionError: https://...@host/api refused" in text
    assert "secret" not in text


def test_a_password_is_left_out_of_a_message_that_is_cut(
    example: Example, opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "MOST_WORDS", len("refused by http://me:sec"))

    def fail() -> None:
        raise ConnectionError("refused by http://me:secret@host/api")

    opening.wait, tracker = fail, Background("toy")
    tracker.began(example.study, example.folder)
    with pytest.raises(background.TrackerFailed) as failed:
        tracker.ended(example.folder, "")
    assert str(failed.value) == "ConnectionError: refused by http://...@ho"


def test_a_store_that_does_not_open_ends_the_tracker(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: TrackedRun) -> Remembering:
        raise PermissionError("no")

    monkeypatch.setitem(TRACKERS, "toy", refuse)
    tracker = Background("toy")
    tracker.began(example.study, example.folder)
    with pytest.raises(background.TrackerFailed, match="PermissionError: no"):
        tracker.ended(example.folder, "")
