"""How a verb ends: exit codes, and what is said where it ends before its end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from nas.errors import InputError, PlaceLost, disk_problem

if TYPE_CHECKING:
    from nas.executors.watching import Watchers

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def fail(words: str) -> NoReturn:
    """End with exit code 1."""
    Console(stderr=True).print(f"[red]{escape(words)}[/]", highlight=False, soft_wrap=True)
    raise typer.Exit(FAILED) from None


@contextmanager
def going_on_with(again: str, console: Console, watchers: Watchers | None = None) -> Iterator[None]:
    """Say why work ended before its end, to watchers too; `again` is the command that goes on."""
    from nas.commands.ending import told_to
    from nas.executors.loop import WorkFailed
    from nas.executors.stopping import TERMINATED, Interrupted, Terminated
    from nas.executors.watching import nobody

    try:
        with told_to(watchers or nobody()):
            yield
    except (WorkFailed, PlaceLost) as error:
        fail(str(error))
    except Interrupted:
        console.print(f"Stopped. Go on with:  {escape(again)}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    except Terminated:
        console.print(f"Terminated; no report was written. Go on with:  {escape(again)}", soft_wrap=True)
        raise typer.Exit(TERMINATED) from None


@contextmanager
def placing(study: Path, overrides: list[str]) -> Iterator[None]:
    """Add file and line to an error about a key that only shows while the study is at work."""
    from nas.study.file import placed

    try:
        yield
    except InputError as error:
        raise InputError(placed(str(error), study, overrides)) from None


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """A run folder that a reading command can use, or one clear error."""
    with there(folder):
        if not (folder / "study.yaml").exists():
            raise InputError(f"{folder}: expected a run folder, with study.yaml in it")
        if not (folder / "trials.csv").exists():
            raise InputError(f"{folder}: holds no trials.csv yet; has the run started?")
        yield


@contextmanager
def there(folder: Path) -> Iterator[None]:
    """Where files of a folder cannot be read, one clear error."""
    try:
        yield
    except BrokenPipeError:  # what it is printed to has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(DONE) from None
    except PermissionError as error:
        raise InputError(f"{error.filename}: no permission") from None
    except OSError as error:
        if disk_problem(error):
            raise
        raise InputError(f"{error.filename or folder}: {error.strerror}") from None
