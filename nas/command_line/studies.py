"""Verbs about study files: init, check, schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from nas.command_line.arguments import Overrides, StudyFile, Trust, trusting
from nas.command_line.ending import placing
from nas.commands.threads import threads_as_in_a_worker

if TYPE_CHECKING:
    from nas.study import Study


def init(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder of pictures, a .npz or .csv file, or a data set's name (digits, CIFAR10 ...).",
        ),
    ],
    overrides: Overrides = None,
    minutes: Annotated[
        float | None, typer.Option(min=1, help="Of the whole run; 10, 60 or 480 by default, as --effort says.")
    ] = None,
    target: Annotated[str, typer.Option(help="Where networks are to run: cpu, openvino, cuda or elsewhere.")] = "cpu",
    effort: Annotated[
        Literal["quick", "normal", "thorough"], typer.Option(help="How much is tried, as far as the time allows.")
    ] = "normal",
    out: Annotated[Path, typer.Option(help="The study file to write.")] = Path("study.yaml"),
    base: Annotated[
        str | None,
        typer.Option(metavar="NETWORK", help="Compress this one: torchvision.NAME or package.module:function."),
    ] = None,
    trust: Trust = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there already.")] = False,
) -> None:
    """Look at data and write a study that fits them and the time, with the reason of every choice."""
    from nas.commands.init import Wishes
    from nas.commands.init import init as write_study
    from nas.first_study.spaces import Base

    network = None if base is None else Base(base, trust)
    wishes = Wishes(data, out, tuple(overrides or ()), minutes, target, effort, network)
    write_study(wishes, force=force, console=Console())


def check(
    study: StudyFile,
    overrides: Overrides = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Train a few steps, measure once, and estimate the study's time.")
    ] = False,
    trust: Trust = False,
) -> None:
    """Validate a study; show its data, the size of its space and its smallest, middle and largest network."""
    from nas.commands.check import check_table, warnings_of
    from nas.commands.data import look_at_data
    from nas.commands.mirroring import storage_warnings
    from nas.commands.refusals import refuse
    from nas.data import class_count
    from nas.run_folder.network import begun_anew, code_of, refuse_unreadable
    from nas.study.file import load_study

    overrides = trusting(overrides, trust)
    loaded = load_study(study, overrides)
    if probe:
        threads_as_in_a_worker(loaded)  # now: a network that exists is read with torch
    console = Console()
    with placing(study, overrides):
        for notice in code_of(loaded):
            console.print(f"[yellow]{escape(notice)}[/]", soft_wrap=True)
        refuse_unreadable(loaded)  # before anything is said of its layers
        look_at_data(loaded, console)
        for notice in begun_anew(loaded, class_count(loaded.data)):
            console.print(f"[yellow]{escape(notice)}[/]", soft_wrap=True)
        console.print(check_table(loaded))
        for warning in (*warnings_of(loaded), *storage_warnings(loaded)):
            console.print(f"[yellow]warning:[/] {escape(warning)}")
        refuse(loaded)
        if probe:
            _probe(loaded, console)


def _probe(study: Study, console: Console) -> None:
    from nas.commands.probe import probe as run_probe
    from nas.commands.probe import probe_tables
    from nas.commands.probe import warnings_of as warnings_of_probe

    with console.status("probing") as status:
        found = run_probe(study, say=status.update)
    for table in probe_tables(found):
        console.print(table)
    for warning in warnings_of_probe(found):
        console.print(f"[yellow]warning:[/] {escape(warning)}")


def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="All keys in tables, for readers.")] = False,
) -> None:
    """Print the JSON schema of a study file, for editors, or its keys in tables."""
    from nas.study.reference import reference
    from nas.study.schema import study_schema

    print(reference() if markdown else study_schema(), end="" if markdown else "\n")
