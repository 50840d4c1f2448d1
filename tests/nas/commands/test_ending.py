"""What those who watch a run hear of its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from nas.commands.ending import told_to, why_ended
from nas.executors.stopping import Interrupted, Terminated
from nas.executors.watching import Watchers
from nas.run_folder.paths import RunFolder
from nas.study import Study


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Interrupted(), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
        (Terminated(), "terminated"),
        (SystemExit(1), "what it printed to is gone"),  # as rich ends a command whose pipe was closed
        (ValueError("no room"), "no room"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_watchers_are_told_why_a_command_ended(error: BaseException, words: str) -> None:
    assert why_ended(error) == words


class Hears:
    """A watcher that keeps what it is told of the end."""

    name = "hears"

    def __init__(self) -> None:
        self.ends: list[str] = []

    def began(self, study: Study, folder: RunFolder) -> None:
        pass

    def ended(self, folder: RunFolder, problem: str) -> None:
        self.ends.append(problem)


def test_an_error_is_told_and_goes_on(tmp_path: Path) -> None:
    hears = Hears()
    watchers = Watchers([hears], Console(quiet=True))  # type: ignore[list-item]
    watchers.began(None, RunFolder(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no room"), told_to(watchers):
        raise ValueError("no room")
    with told_to(watchers):
        pass
    assert hears.ends == ["no room"]
