"""`nas report`, and how `nas run` and `nas train` end: the report written, the front printed, the files named."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from nas.report.html import write_html
from nas.report.importance import importances
from nas.report.picture import write_picture
from nas.report.tables import front_rows, read_trials
from nas.report.terminal import print_front
from nas.runtimes.runtime import runtime_of
from nas.study import Study
from nas.study.file import load_study


def write_report(folder: Path, study: Study, console: Console) -> None:
    """Write report.html and front.png of the run in `folder`."""
    try:
        with console.status("writing the report"):
            write_html(folder, importance=importances(read_trials(folder), study.objectives, seed=study.search.seed))
            write_picture(folder)
    except OSError as error:  # a write that fails halfway does not say of what
        error.filename = error.filename or str(folder)
        raise


def report_and_front(folder: Path, console: Console) -> None:
    """Write the report, print the front, and say where the files are."""
    study = load_study(folder / "study.yaml")
    write_report(folder, study, console)
    print_front(console, folder, study.objectives)
    lines = [f"Report:  {folder / 'report.html'}"]
    lines += [f"Files:   {folder}/<artifact>/{runtime_of(study.target).file_name}, named in {folder / 'front.csv'}"]
    if len(rows := front_rows(folder)):
        lines += [f"Next:    nas export {shlex.quote(str(folder))} {rows.iloc[0]['trial']} --to my-model"]
    console.print(escape("\n".join(lines)), soft_wrap=True)
