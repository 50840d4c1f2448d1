"""Watchers: told in order, and dropped with one line where they raise."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from by_hand import make_study
from rich.console import Console

from nas.executors.pool import Event, Noticed
from nas.executors.watching import Watchers
from nas.records import Evaluation
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import TrialRow
from nas.study import Study
from nas.tasks import Task


@dataclass
class Listener:
    name: str = "listener"
    fails_at: str = ""
    heard: list[str] = field(default_factory=list)

    def _hear(self, what: str) -> None:
        if what == self.fails_at:
            raise RuntimeError(f"no [room]\nfor {what}")
        self.heard.append(what)

    def began(self, study: Study, folder: RunFolder) -> None:
        self._hear("began")

    def started(self, task: Task) -> None:
        self._hear("started")

    def happened(self, event: Event) -> None:
        self._hear("happened")

    def over(self, task: Task, evaluation: Evaluation | None, row: TrialRow) -> None:
        self._hear("over")

    def ended(self, folder: RunFolder, problem: str) -> None:
        self._hear(f"ended {folder.path.name} {problem}")


def test_one_that_raises_is_dropped_with_one_line_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = Listener(), Listener("tracker", fails_at="happened")
    watchers = Watchers([bad, good], Console())
    watchers.began(make_study(), RunFolder(tmp_path / "run"))
    watchers.happened(Noticed("a"))
    watchers.happened(Noticed("b"))
    watchers.ended("why")
    assert bad.heard == ["began"]
    assert good.heard == ["began", "happened", "happened", "ended run why"]
    assert capsys.readouterr().out.split("\n")[0] == "warning: tracker is told nothing more: no [room] for happened"


@dataclass
class Planner(Listener):
    def expects(self, seconds: float) -> None:
        self._hear(f"expects {seconds:g}")


def test_who_cares_for_the_forecast_hears_of_it() -> None:
    listener, planner = Listener(), Planner()
    watchers = Watchers([listener, planner], Console())
    watchers.expects(None)
    watchers.expects(7.5)
    assert (listener.heard, planner.heard) == ([], ["expects 7.5"])


def test_the_end_is_told_once_and_only_behind_a_beginning(tmp_path: Path) -> None:
    listener = Listener()
    watchers = Watchers([listener], Console())
    watchers.ended()
    watchers.began(make_study(), RunFolder(tmp_path / "run"))
    watchers.ended()
    watchers.ended("again")
    assert listener.heard == ["began", "ended run "]
