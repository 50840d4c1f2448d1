"""Verbs that say how a run stands and what it found: front, report, status, logs."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from rich.console import Console

from nas.command_line.arguments import Folder
from nas.command_line.ending import readable, there


def front(
    folder: Folder,
    style: Annotated[Literal["table", "csv", "json"], typer.Option("--format")] = "table",
    objectives: Annotated[str | None, typer.Option(help="Comma-separated; the study's by default.")] = None,
    at_most: Annotated[
        int | None, typer.Option(min=1, help="Members shown: the best in every quality, then by hypervolume.")
    ] = None,
) -> None:
    """Print the Pareto front of a run, over any subset of the objectives, and how surely each network is on it."""
    from nas.report.tables import asked_objectives, format_front, front_rows, thinned
    from nas.report.terminal import print_front, why_empty

    with readable(folder):
        names = asked_objectives(folder, objectives)
        if style == "table":
            print_front(Console(), folder, names, at_most=at_most)
        else:
            members = thinned(front_rows(folder, names), names, at_most)
            print(format_front(members, style), end="")
            if members.empty:
                Console(stderr=True).print(why_empty(folder, names), markup=False, highlight=False, soft_wrap=True)


def report(folder: Folder) -> None:
    """Write report.html and front.png of a run again."""
    from nas.commands.report import write_report
    from nas.study.file import load_study

    with readable(folder):
        write_report(folder, load_study(folder / "study.yaml"), Console())
    print(folder / "report.html")


def status(
    folder: Folder,
    watch: Annotated[bool, typer.Option("--watch", help="Renewed until the run is over, or Ctrl-C.")] = False,
    style: Annotated[Literal["text", "json"], typer.Option("--format")] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Say how a run stands: states, rate, front, what is expected, what runs, what failed.

    On any machine that sees the folder; nothing is written and no lock is taken.
    """
    from nas.commands.status import show_status

    with there(folder):
        show_status(folder, "json" if as_json else style, watch=watch, console=Console())


def logs(
    folder: Folder,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for further lines, until Ctrl-C.")] = False,
    trial: Annotated[
        str | None, typer.Option(help="Of one network: a trial's number or the beginning of an id.")
    ] = None,
    level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(help="The least that is shown.")
    ] = "info",
) -> None:
    """Print what happened in a run folder: drivers, trials, workers that died, warnings."""
    from nas.commands.logs import Wanted
    from nas.commands.logs import logs as lines_of
    from nas.run_folder.log import Level

    with there(folder):
        for line in lines_of(folder, Wanted(Level.named(level), trial), follow=follow):
            print(line, flush=follow)
