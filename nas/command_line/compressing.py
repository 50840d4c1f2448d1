"""The verb compress."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from nas.command_line.arguments import Overrides, Trust
from nas.command_line.ending import INTERRUPTED, fail, going_on_with
from nas.commands.threads import threads_for
from nas.errors import InputError


def compress(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="torchvision.NAME, or package.module:function of your own code.")
    ],
    overrides: Overrides = None,
    data: Annotated[
        str, typer.Option(help="digits, a data set's name, a folder of pictures, a .npz or .csv file, or STUDY.yaml.")
    ] = "",
    to: Annotated[Path | None, typer.Option(help="A new or an empty folder.")] = None,
    weights: Annotated[
        str, typer.Option(help="DEFAULT, own, a .safetensors file or a state_dict; none: it is trained first.")
    ] = "none",
    ratio: Annotated[
        list[str] | None,
        typer.Option(metavar="R | LAYER=R", help="Share of channels that go, 0 to 0.875; of one layer alone."),
    ] = None,
    weight_format: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="F | LAYER=F", help="fp32, int8, int4 ...; of one layer alone."),
    ] = None,
    rank: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[METHOD:]R | LAYER=R",
            help="Factors layers: a rank, a share of parameters that goes, energy:SHARE, vbmf or none; svd by default.",
        ),
    ] = None,
    importance: Annotated[str | None, typer.Option(help="What ranks channels: l2, taylor, bn_scale ...")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of the compressed network's training, and of one before; 20 by default.")
    ] = None,
    limits: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="COST=NUMBER", help="size_bytes=200000, latency_ms=2 ...: a plan is found."),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Search for the plan with so many trials; options are then choices a,b,c.")
    ] = None,
    trust: Trust = False,
    layers: Annotated[bool, typer.Option("--layers", help="Show every layer before and after.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Also write the comparison as a page, table.html.")] = False,
) -> None:
    """Compress one network into one file, with a table of before and after.

    Without a plan and without --max, weights become int8. KEY=VALUE are keys of the study that it comes to, which is
    kept beside the result. After Ctrl-C the same command goes on.
    """
    from nas.commands.compress_options import Options, likely_size, wishes_of, with_fitting_size

    if not data or to is None:
        raise InputError("--data: expected what to train on" if not data else "--to: expected a folder for the result")
    options = Options(
        model, data, to, ratio or (), weight_format or (), rank or (), importance, epochs, limits or (), trials,
        weights, trust, overrides or (),
    )  # fmt: skip
    wishes = wishes_of(options)
    threads_for(1, likely_size(wishes))
    from nas.commands.compress import compress as compress_network
    from nas.commands.compress_view import print_comparison
    from nas.errors import CandidateFailed

    console = Console()
    again = shlex.join(["nas", *sys.argv[1:]])
    try:
        with going_on_with(again, console):
            found = compress_network(with_fitting_size(wishes, to), to, console, html=html)
    except KeyboardInterrupt:
        console.print(f"Stopped. Go on with:  {escape(again)}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    except CandidateFailed as error:
        fail(f"The training failed: {error}")
    if found is None:
        console.print(f"Stopped before the end. Go on with:  {escape(again)}", soft_wrap=True)
        return
    print_comparison(console, found, layers=layers)
    console.print(f"Written:  {escape(str(to))}", soft_wrap=True)
