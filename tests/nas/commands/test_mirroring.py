"""A study with a database: a run that is mirrored, one whose server goes away, and one that has none to talk to."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from by_hand import Workers, make_study, read
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from ports import free_port
from postgres import PASSWORD, Server, on_postgres
from rich.console import Console

import nas.commands.run
from nas.commands import mirroring
from nas.commands.mirroring import refused_storage, storage_warnings
from nas.commands.refusals import refusals
from nas.executors.engine import OnThisMachine
from nas.executors.pool import Event, ExecutorSetup, Finished, Noticed
from nas.executors.watching import Watchers
from nas.registry import ENGINES
from nas.run_folder.paths import RunFolder
from nas.search.mirror import open_database
from nas.study import Study

PHASES = ("", "/repeat", "/final", "/reference")


def study_of(url: str, name: str) -> Study:
    study = make_study(trials=6, finalists=2, workers=2, sampler="random", storage=url)
    return study.model_copy(update={"name": name})


def told(storage: BaseStorage, name: str) -> list[tuple[Any, ...]]:
    try:
        trials = optuna.load_study(storage=storage, study_name=name).trials
    except KeyError:
        return []
    return [
        (trial.number, trial.state, trial.values, trial.params, trial.user_attrs, trial.system_attrs)
        for trial in trials
    ]


def in_journal(folder: RunFolder, name: str) -> list[tuple[Any, ...]]:
    file = str(folder.journal)
    return told(JournalStorage(JournalFileBackend(file, lock_obj=JournalFileOpenLock(file))), name)


class Scripted(Workers):
    """By hand; `at` is called before the result of each number."""

    at: Callable[[int], None]

    def wait(self, seconds: float) -> list[Finished]:
        self.at(self.results)
        return super().wait(seconds)


class Heard:
    """A watcher that keeps the notices."""

    name = "heard"

    def __init__(self) -> None:
        self.notices: list[str] = []

    def happened(self, event: Event) -> None:
        if isinstance(event, Noticed):
            self.notices.append(event.text)

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_: None


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def run(folder: RunFolder, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a study of this url; what the screen showed."""

    def start(url: str, at: Callable[[int, io.StringIO], None] = lambda *_: None) -> str:
        screen = io.StringIO()

        def workers(setup: ExecutorSetup) -> Workers:
            made = Scripted(setup.folder.path, setup.workers, setup.threads)
            made.at = lambda number: at(number, screen)
            return made

        monkeypatch.setitem(ENGINES, "local", OnThisMachine(workers))
        study = study_of(url, folder.path.parent.name)
        console = Console(file=screen, width=200)
        assert nas.commands.run.run(study, folder.path, console, Watchers([heard], console))
        return screen.getvalue()

    return start


def until_shown(screen: io.StringIO, words: str) -> None:
    end = time.monotonic() + 30
    while words not in screen.getvalue():
        assert time.monotonic() < end, screen.getvalue()
        time.sleep(0.01)


@on_postgres
def test_every_phase_is_in_the_database_and_no_password_anywhere(
    folder: RunFolder, run: Callable[..., str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    shown = run(server.url)
    assert "search.storage" not in shown
    name, storage = folder.path.parent.name, open_database(server.url)
    for phase in PHASES:
        assert told(storage, f"{name}{phase}") == in_journal(folder, f"{name}{phase}")
    assert len(told(storage, name)) >= 6
    assert len(told(storage, f"{name}/final")) == 2
    files = [file for file in folder.path.rglob("*") if file.is_file()]
    assert server.url in folder.study.read_text()
    assert not [file for file in files if PASSWORD.encode() in file.read_bytes()]
    assert PASSWORD not in shown


@on_postgres
def test_a_server_that_is_restarted_under_a_run_misses_nothing(
    folder: RunFolder, run: Callable[..., str], server: Server
) -> None:
    def restart(number: int, screen: io.StringIO) -> None:
        if number == 2:
            server.stop()
            until_shown(screen, "the search goes on")
        if number == 5:
            server.start()

    shown = run(server.socket_url, restart)
    assert shown.count("the search goes on, and is copied when it answers") == 1
    name, storage = folder.path.parent.name, open_database(server.socket_url)
    for phase in PHASES:
        assert told(storage, f"{name}{phase}") == in_journal(folder, f"{name}{phase}")


@on_postgres
def test_without_a_server_the_run_is_the_same_and_the_next_one_copies_it(
    folder: RunFolder, run: Callable[..., str], server: Server, heard: Heard
) -> None:
    shown = run(f"postgresql://nas@127.0.0.1:{free_port()}/nas")
    assert shown.count("the search goes on") == 1
    assert shown.count("the next `nas run` copies the rest") == 1
    assert ["goes on" in heard.notices[0], "copies the rest" in heard.notices[1]] == [True, True]
    trials = read(folder, "trials")
    assert sum(row["state"] == "COMPLETE" for row in trials) == 6
    again = run(server.socket_url)
    assert "search.storage" not in again
    assert read(folder, "trials") == trials
    name, storage = folder.path.parent.name, open_database(server.socket_url)
    for phase in PHASES:
        assert told(storage, f"{name}{phase}") == in_journal(folder, f"{name}{phase}")


def test_a_check_warns_of_a_database_that_does_not_answer() -> None:
    (warning,) = storage_warnings(study_of(f"postgresql://nas@127.0.0.1:{free_port()}/nas", "t"))
    assert warning.startswith("search.storage: ")
    assert warning.endswith("; a run goes on without, and copies its records when it answers")
    assert not list(storage_warnings(make_study()))


def test_without_the_library_it_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    study = study_of("postgresql://nas@db/nas", "t")
    assert not list(refused_storage(study))
    monkeypatch.setattr(mirroring, "find_spec", lambda _: None)
    wanted = "search.storage: needs psycopg: pip install 'compact-nas[postgresql]'"
    assert list(refused_storage(study)) == [wanted]
    assert not list(storage_warnings(study)), "`nas check` says it once"
    assert wanted in list(refusals(study))
    assert not list(refused_storage(make_study()))
