"""Verbs about one trained network or its file: sensitivity, export, decode, measure."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from nas.command_line.arguments import Folder
from nas.command_line.ending import INTERRUPTED, readable
from nas.commands.threads import threads_as_in_a_worker


def sensitivity(
    folder: Folder,
    trial: Annotated[
        str,
        typer.Argument(metavar="TRIAL", help="A trial's number, the beginning of an id, or an artifact of front.csv."),
    ],
    formats: Annotated[
        str | None,
        typer.Option(help="Comma-separated; by default the study's; int8, int4 and int2 too if that is but one."),
    ] = None,
    ratios: Annotated[
        str | None, typer.Option(help="Comma-separated; by default the study's, or 0.25, 0.5 and 0.75.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Validation images, at most.")] = 1000,
) -> None:
    """Scan a trained network: its accuracy when one layer alone is rounded, or one channel group alone is pruned.

    Nothing is trained. The report shows the scan, and search.warm_start=sensitivity has a search propose candidates
    from it. After Ctrl-C the same command goes on.
    """
    from nas.study.file import load_study

    with readable(folder):
        study = load_study(folder / "study.yaml")
    threads_as_in_a_worker(study)
    from nas.commands.report import write_report
    from nas.commands.sensitivity import Wishes, print_scan
    from nas.commands.sensitivity import sensitivity as run_scan

    console = Console()
    wishes = Wishes.of(formats, ratios, images)
    again = shlex.join(["nas", *sys.argv[1:]])
    try:
        with readable(folder), console.status("scanning") as status:
            found = run_scan(folder, trial, wishes, tell=lambda n, total: status.update(f"scanning: {n} of {total}"))
    except KeyboardInterrupt:
        console.print(f"Stopped. Go on with:  {escape(again)}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    print_scan(console, found, folder)
    write_report(folder, study, console)


def export(
    folder: Folder,
    trial: Annotated[
        str,
        typer.Argument(metavar="TRIAL", help="A trial's number, the beginning of an id, or an artifact of front.csv."),
    ],
    to: Annotated[Path, typer.Option(help="A new or an empty folder.")],
    coded: Annotated[
        bool, typer.Option("--coded", help="Also entropy-coded, as model.nasz: smaller to store and to send.")
    ] = False,
) -> None:
    """Copy one network's file, candidate and evaluation, with a model card whose snippet runs."""
    from nas.commands.export import export_trial

    with readable(folder):
        written = export_trial(folder, trial, to, coded=coded)
    for file in written:
        print(file)


def decode(
    file: Annotated[Path, typer.Argument(metavar="MODEL.nasz", help="A file that `nas export --coded` wrote.")],
    to: Annotated[Path | None, typer.Option(help="The file to write; beside MODEL.nasz by default.")] = None,
) -> None:
    """Give an entropy-coded model back as the file that it was made from, byte for byte."""
    from nas.commands.decode import decode_file

    print(decode_file(file, to))


def measure(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.onnx", help="An ONNX file with one float32 input (N, C, H, W).")
    ],
    threads: Annotated[int, typer.Option(min=1, help="Threads of one call.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Images of one call.")] = 1,
    style: Annotated[Literal["table", "json"], typer.Option("--format")] = "table",
    agent: Annotated[
        str | None, typer.Option(metavar="URL", help="Time it on a device, where `nas agent` listens at this address.")
    ] = None,
) -> None:
    """Measure an ONNX file as a search does.

    Latency, memory and size; parameters and MACs of its convolutions and linear layers.
    """
    from nas.commands.measure import as_json, as_table, measure_model

    measured = measure_model(model, threads=threads, batch=batch, agent=agent)
    if style == "json":
        print(as_json(measured))
    else:
        Console().print(as_table(measured))
