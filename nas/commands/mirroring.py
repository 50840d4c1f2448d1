"""`search.storage` while a command writes to the journal: mirrored to its end, and never a reason to stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.markup import escape

from nas.executors.pool import Noticed
from nas.executors.watching import Watchers
from nas.run_folder.paths import RunFolder
from nas.study import Study

HURRIED_SECONDS = 1.0  # for which the last records are waited for where work ends by an error


@contextmanager
def mirrored(study: Study, folder: RunFolder, console: Console, watchers: Watchers) -> Iterator[None]:
    """Copy the run's journal into the study's database meanwhile; nothing is done where there is none.

    What becomes of the database is told on the screen and to watchers.
    """
    url = study.search.storage
    if url is None:
        yield
        return
    from nas.search.mirror import Mirror, open_database  # with SQLAlchemy, which takes a while

    def say(words: str) -> None:
        watchers.happened(Noticed(words))
        console.print(f"[yellow]{escape(words)}[/]", highlight=False, soft_wrap=True)

    mirror = Mirror(folder.journal, lambda: open_database(url), say)
    mirror.start()
    try:
        yield
    except BaseException:
        mirror.close(HURRIED_SECONDS)
        raise
    mirror.close()


def refused_storage(study: Study) -> Iterator[str]:
    """Why a study's database cannot be used on this machine at all."""
    if study.search.storage is not None and find_spec("psycopg") is None:
        yield "search.storage: needs psycopg: pip install 'compact-nas[postgresql]'"


def storage_warnings(study: Study) -> Iterator[str]:
    """Why the database cannot be reached now; a run would go on without."""
    if study.search.storage is not None and not list(refused_storage(study)):
        from nas.search.mirror import unreachable

        if words := unreachable(study.search.storage):
            yield f"search.storage: {words}; a run goes on without, and copies its records when it answers"
