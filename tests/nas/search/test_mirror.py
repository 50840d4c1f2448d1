"""The mirror: a database that is away, slow or wrong costs one line and never the search."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import optuna
import psycopg
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from ports import free_port
from postgres import PASSWORD, Server, on_postgres

from nas.search.journal import Direction, Journal
from nas.search.mirror import Mirror, open_database, reason_of, unreachable

DIRECTIONS: list[Direction] = ["maximize", "minimize"]


@pytest.fixture
def journal(tmp_path: Path, no_fsync: None) -> Journal:
    return Journal(tmp_path / "study.log", tmp_path.name, DIRECTIONS)


@pytest.fixture
def file(tmp_path: Path, journal: Journal) -> Path:
    return tmp_path / "study.log"


def add(journal: Journal, trials: int = 1) -> None:
    for _ in range(trials):
        number = journal.enqueue({"note": "a"})
        journal.tell(number, [number, 1.0], notes={"row": {"number": number}})


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def numbers(storage: BaseStorage, file: Path) -> list[int]:
    try:
        return [trial.user_attrs["row"]["number"] for trial in optuna.load_study(
            storage=storage, study_name=file.parent.name
        ).trials if "row" in trial.user_attrs]  # fmt: skip
    except KeyError:
        return []


def test_it_follows_and_is_whole_at_the_end(file: Path, journal: Journal) -> None:
    storage, said = InMemoryStorage(), list[str]()
    mirror = Mirror(file, lambda: storage, said.append, poll_seconds=0.01)
    mirror.start()
    add(journal, 3)
    until(lambda: numbers(storage, file) == [0, 1, 2])
    add(journal)
    mirror.close()
    assert numbers(storage, file) == [0, 1, 2, 3]
    assert said == []


def test_each_absence_is_one_line_however_many_attempts_fail(file: Path, journal: Journal) -> None:
    storage, said, attempts = InMemoryStorage(), list[str](), list[float]()
    broken = threading.Event()

    def connect() -> BaseStorage:
        attempts.append(time.monotonic())
        if len(attempts) < 5:
            raise ConnectionError("nobody listens\nsecond line")
        return storage

    class Failing(Mirror):
        def _copy(self) -> None:
            super()._copy()
            if broken.is_set():
                broken.clear()
                raise ConnectionError("cut")

    mirror = Failing(file, connect, said.append, poll_seconds=0.01)
    mirror.start()
    add(journal, 2)
    until(lambda: numbers(storage, file) == [0, 1])
    until(lambda: len(said) == 2)
    waits = [later - earlier for earlier, later in pairwise(attempts)]
    assert all(wait >= 0.01 * 2**n for n, wait in enumerate(waits, 1)), "it waits longer each time"
    broken.set()
    until(lambda: len(said) == 4)
    mirror.close()
    lost = "search.storage: {}; the search goes on, and is copied when it answers"
    found = "search.storage: the database answers again, and has all that it missed"
    assert said == [lost.format("nobody listens"), found, lost.format("cut"), found]


def test_a_database_that_hangs_holds_nobody_up(file: Path, journal: Journal) -> None:
    said, free = list[str](), threading.Event()

    def connect() -> BaseStorage:
        free.wait()
        raise ConnectionError

    mirror = Mirror(file, connect, said.append, poll_seconds=0.01)
    mirror.start()
    add(journal, 2)
    mirror.close(0.05)
    free.set()
    mirror._thread.join(5)
    assert said == ["search.storage: the database has not all of study.log yet; the next `nas run` copies the rest"]


def test_what_came_too_late_is_not_said_to_be_all(file: Path, journal: Journal) -> None:
    """The database answers again when nobody waits for it any more."""
    said, asked, free = list[str](), threading.Event(), threading.Event()

    def connect() -> BaseStorage:
        if not said:
            raise ConnectionError("nobody listens")
        asked.set()
        free.wait()
        return InMemoryStorage()

    mirror = Mirror(file, connect, said.append, poll_seconds=0.01)
    mirror.start()
    add(journal, 2)
    assert asked.wait(5)
    mirror.close(0.05)
    free.set()
    mirror._thread.join(5)
    assert ["nobody listens" in said[0], "has not all" in said[1], len(said)] == [True, True, 2]


def test_a_journal_that_comes_later_is_found(tmp_path: Path, no_fsync: None) -> None:
    storage, file = InMemoryStorage(), tmp_path / "study.log"
    mirror = Mirror(file, lambda: storage, pytest.fail, poll_seconds=0.01)
    mirror.start()
    time.sleep(0.03)
    add(Journal(file, tmp_path.name, DIRECTIONS))
    mirror.close()
    assert numbers(storage, file) == [0]


@on_postgres
def test_postgresql_goes_away_and_comes_back(
    file: Path, journal: Journal, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurried = SimpleNamespace(sleep=lambda _: None)  # Optuna tries five times itself, seconds apart
    monkeypatch.setattr("optuna.storages._rdb.storage.time", hurried)
    said, reader = list[str](), open_database(server.socket_url)
    mirror = Mirror(file, lambda: open_database(server.socket_url), said.append, poll_seconds=0.02)
    mirror.start()
    add(journal, 3)
    until(lambda: numbers(reader, file) == [0, 1, 2])
    server.stop()
    add(journal, 2)
    until(lambda: len(said) == 1)
    server.start()
    until(lambda: len(said) == 2)
    add(journal)
    mirror.close()
    assert numbers(open_database(server.socket_url), file) == [0, 1, 2, 3, 4, 5]
    assert len(said) == 2
    assert "goes on" in said[0]
    assert "answers again" in said[1]
    trials = optuna.load_study(storage=open_database(server.socket_url), study_name=file.parent.name).trials
    assert [trial.values for trial in trials] == [[n, 1.0] for n in range(6)]


@on_postgres
def test_the_password_comes_from_the_environment_or_a_file_and_is_nowhere_told(
    file: Path, journal: Journal, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "wrong-273")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    assert "password authentication failed" in (words := unreachable(server.url))
    assert "\n" not in words
    said = list[str]()
    mirror = Mirror(file, lambda: open_database(server.url), said.append, poll_seconds=0.01)
    mirror.start()
    add(journal)
    until(lambda: bool(said))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    mirror.close()
    assert numbers(open_database(server.url), file) == [0]
    assert not [line for line in said if "wrong-273" in line or PASSWORD in line]
    monkeypatch.delenv("PGPASSWORD")
    assert unreachable(server.url)
    service = tmp_path / "service"
    service.write_text(f"[nas]\nhost=127.0.0.1\nport={server.port}\nuser=nas\npassword={PASSWORD}\ndbname=postgres\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    assert unreachable("postgresql://?service=nas") == ""
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"127.0.0.1:*:*:nas:{PASSWORD}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    assert unreachable(server.url) == ""


def test_why_a_database_is_out_of_reach_is_one_line() -> None:
    words = unreachable(f"postgresql://nas@127.0.0.1:{free_port()}/nas")
    assert "connection failed" in words
    assert "\n" not in words
    assert "sqlalche.me" not in words


def test_without_the_library_it_is_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "psycopg" in unreachable("postgresql://nas@127.0.0.1:1/nas")


def test_the_innermost_error_says_why() -> None:
    outer = RuntimeError("an exception is raised during the commit")
    outer.__cause__ = psycopg.OperationalError("the connection is lost\nHINT: secret")
    assert reason_of(outer) == "the connection is lost"
    assert reason_of(TimeoutError()) == "TimeoutError"
