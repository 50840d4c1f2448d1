"""The mirror: a thread that copies the journal into a database for shared reading (`search.storage`).

The journal stays the record. The thread only reads it, never in the way of who writes: where the database is away,
slow or full, the search goes on, and what is missing there is copied when it is back, or by the next run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from nas.search.copying import Copying
from nas.study.storage_url import driver_url

POLL_SECONDS = 1.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
END_SECONDS = 10.0
CONNECTION = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "tcp_user_timeout": 20_000}
ENGINE: dict[str, Any] = {"pool_size": 1, "connect_args": CONNECTION}
Say = Callable[[str], None]


def open_database(url: str) -> BaseStorage:
    """Optuna's tables in a PostgreSQL database, made where they are missing; dead connections show within seconds."""
    try:
        return RDBStorage(driver_url(url), engine_kwargs=ENGINE)
    except IntegrityError:  # another run has made the tables in the same moment
        return RDBStorage(driver_url(url), engine_kwargs=ENGINE)


class Mirror:
    """Copies `journal` into what `connect` opens, until it is closed; `say` shows a line to the user."""

    def __init__(
        self, journal: Path, connect: Callable[[], BaseStorage], say: Say, *, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self._journal, self._connect, self._say, self._poll = journal, connect, say, poll_seconds
        self._over, self._given_up = threading.Event(), threading.Event()
        self._storage: BaseStorage | None = None
        self._copying: Copying | None = None
        self._is_lost, self._is_whole = False, False
        self._thread = threading.Thread(target=self._follow, name="mirror", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, seconds: float = END_SECONDS) -> None:
        """Copy the last records, for so long at most; says where that was not enough."""
        self._over.set()
        self._thread.join(seconds)
        self._given_up.set()
        if not self._is_whole:
            self._say("search.storage: the database has not all of study.log yet; the next `nas run` copies the rest")

    def _follow(self) -> None:
        wait = min(FIRST_WAIT_SECONDS, self._poll)
        while True:
            is_last = self._over.is_set()
            try:
                self._copy()
            except Exception as error:  # whatever a database raises: it must not end a search
                self._lost(error)
                wait = min(2 * wait, LONGEST_WAIT_SECONDS)
            else:
                self._found()
                wait = min(FIRST_WAIT_SECONDS, self._poll)
                self._is_whole = is_last and not self._given_up.is_set()
            if is_last:
                self._disconnect()
                return
            self._over.wait(wait if self._is_lost else self._poll)

    def _copy(self) -> None:
        if not self._journal.exists():
            return
        if self._copying is None:
            self._storage = self._connect()
            self._copying = Copying(self._storage, self._journal)
        self._copying.go_on(self._given_up.is_set)

    def _lost(self, error: Exception) -> None:
        """One line for each time it goes away, not for each attempt."""
        self._disconnect()
        if not self._is_lost:
            self._tell(f"search.storage: {reason_of(error)}; the search goes on, and is copied when it answers")
        self._is_lost = True

    def _found(self) -> None:
        if self._is_lost:
            self._tell("search.storage: the database answers again, and has all that it missed")
        self._is_lost = False

    def _tell(self, words: str) -> None:
        """Say what became of the database, unless nobody waits for it any more: it was said that it lacks something."""
        if not self._given_up.is_set():
            self._say(words)

    def _disconnect(self) -> None:
        if isinstance(self._storage, RDBStorage):
            self._storage.remove_session()
            self._storage.engine.dispose()
        self._storage = self._copying = None


def reason_of(error: BaseException) -> str:
    """What is wrong with the database, in one line: the innermost error's first. It names no password."""
    inner = getattr(error, "orig", None) or error.__cause__
    if inner is not None:
        return reason_of(inner)
    words = str(error).strip().split("\n")[0]
    return words or type(error).__name__


def unreachable(url: str) -> str:
    """Why a database cannot be reached now; empty where it can. Nothing is made in it."""
    try:
        engine = create_engine(driver_url(url), **ENGINE)
    except ImportError as error:  # psycopg, or the library of PostgreSQL that it needs
        return reason_of(error)
    try:
        engine.connect().close()
    except SQLAlchemyError as error:
        return reason_of(error)
    finally:
        engine.dispose()
    return ""
