"""What a tracker's store is: the Protocol that the thread behind a search calls, and what it is opened with."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nas.files import write_atomically
from nas.run_folder.paths import RunFolder
from nas.study import Study
from nas.tracking.record import Tracked


class Store(Protocol):
    """One run of a tracker, with a child for every evaluation. A single thread calls it, which is not the driver's."""

    def has(self, key: str) -> bool:
        """Whether this evaluation's end is in the store already, from this start of the driver or an earlier one."""

    def begin(self, trial: Tracked) -> None:
        """An evaluation begins, or goes on."""

    def progress(self, key: str, epochs: float, values: Mapping[str, float]) -> None:
        """What an evaluation that has begun says of itself after so many epochs."""

    def end(self, trial: Tracked) -> None:
        """An evaluation has ended."""

    def total(self, step: int, values: Mapping[str, float]) -> None:
        """What is known of the search after `step` ended trials."""

    def close(self, artifacts: Sequence[Path], *, is_over: bool) -> None:
        """The driver ends; `artifacts` are files of the whole run."""


@dataclass(frozen=True)
class TrackedRun:
    """What a store is opened with; `key` is the run's own, whoever continues it and wherever its folder lies."""

    study: Study
    folder: RunFolder
    key: str


OpenStore = Callable[[TrackedRun], Store]  # a row of nas.registry.TRACKERS
ARTIFACTS = ("front.csv", "front.png", "report.html", "study.yaml")


def tracked_run(study: Study, folder: RunFolder) -> TrackedRun:
    """The run of a folder; its key is written before any tracker hears of it, so that no run has two."""
    try:
        key = json.loads(folder.tracking.read_text(encoding="utf-8"))["key"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        key = uuid.uuid4().hex
        write_atomically(folder.tracking, json.dumps({"key": key}) + "\n")
    return TrackedRun(study, folder, str(key))


def artifacts_of(folder: RunFolder) -> list[Path]:
    """The files of the whole run that are there."""
    return [file for name in ARTIFACTS if (file := folder.path / name).exists()]


def without_secrets(text: str) -> str:
    """An error's text with the user and the password of every address in it left out.

    A password may hold any character but white space, for SQLAlchemy even a "/".
    """
    return re.sub(r"(?<=//)\S*@", "...@", text)
