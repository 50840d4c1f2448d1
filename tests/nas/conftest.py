"""Fixtures of driver tests: a run folder, what the search draws, a run whose workers evaluate by hand."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from by_hand import Run, Script, Workers, make_study
from postgres import Server, serving
from rich.console import Console

import nas.commands.run
import nas.search.draws
from nas.candidates.candidate import Candidate
from nas.executors.engine import OnThisMachine
from nas.executors.pool import ExecutorSetup
from nas.registry import ENGINES
from nas.run_folder.paths import RunFolder


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deaths are simulated between writes here, never within the kernel; syncing would only take time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Have the search draw these candidates, in order."""

    def use(candidates: Iterable[Candidate]) -> None:
        queue = iter(candidates)
        monkeypatch.setattr(nas.search.draws, "sample_of", lambda *_, **__: next(queue))

    return use


@pytest.fixture
def folder(tmp_path: Path, no_fsync: None) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    return folder


@pytest.fixture
def run(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Run:
    def start(press: dict[int, int] | None = None, **search: Any) -> bool:
        def workers(setup: ExecutorSetup) -> Workers:
            return Workers(setup.folder.path, setup.workers, setup.threads, press or {})

        monkeypatch.setitem(ENGINES, "local", OnThisMachine(workers))
        options = {"trials": 6, "finalists": 2, "workers": 2, "sampler": "nsga2", **search}
        return nas.commands.run.run(make_study(**options), folder.path, Console(quiet=True))

    return start


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server; a test may stop and start it."""
    with serving() as server:
        yield server
