"""A study run from a program: quietly, and ended by Ctrl-C as a program is."""

from __future__ import annotations

from pathlib import Path

from nas.commands.ending import told_to
from nas.commands.run import run, watchers_of
from nas.errors import InputError
from nas.executors.stopping import Interrupted
from nas.executors.watching import STOPPED
from nas.from_python.quiet import console_of
from nas.study import Study


class Stopped(KeyboardInterrupt):
    """Ctrl-C ended a call before its end; nothing finished is lost, and the same call goes on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"stopped before the end; what is finished is kept in {folder}, where the same call goes on")


def run_quietly(study: Study, folder: Path, *, progress: bool) -> None:
    """Run or continue a study to its end.

    Raises InputError before any work where the input cannot be used, WorkFailed where the work cannot go on, and
    Stopped at Ctrl-C: at the first once what is running is finished, at the second at once.
    """
    console = console_of(progress=progress)
    watchers = watchers_of(study, console)
    try:
        with told_to(watchers):
            ended = run(study, folder, console, watchers)
        watchers.ended("" if ended else STOPPED)
    except InputError as error:
        raise InputError(str(error).replace("another --out", "another folder").replace("--out:", "folder:")) from None
    except Interrupted:
        raise Stopped(folder) from None
    if not ended:
        raise Stopped(folder)
