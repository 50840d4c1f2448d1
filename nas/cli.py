"""The command line: nas init | compress | run | merge | train | check | cache | front | report | status | logs |
sensitivity | export | decode | measure | agent | retry | submit | schema.

Heavy imports wait until a command needs them.
"""

from __future__ import annotations

import codecs
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from nas import __version__
from nas.command_line.compressing import compress
from nas.command_line.ending import FAILED, INTERRUPTED, WRONG_INPUT
from nas.command_line.machine import agent, cache
from nas.command_line.networks import decode, export, measure, sensitivity
from nas.command_line.reading import front, logs, report, status
from nas.command_line.runs import merge, retry, run, submit, train
from nas.command_line.studies import check, init, schema
from nas.errors import InputError, PlaceLost, disk_problem

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Search compact networks jointly over architecture, pruning and bit-widths; ship the files measured.",
)
PLAIN = {"\u202f": " ", "\u00a0": " ", "±": "+-", "–": "-", "×": "x", "…": "...", "━": "-", "−": "-", "·": "*"}
# The verbs, in the order of `nas --help`, each with an example.
VERBS: Sequence[tuple[Callable[..., None], str]] = (
    (run, "nas run studies/digits.yaml search.trials=48 --out runs/digits-48"),
    (merge, "nas merge runs/digits-0 runs/digits-1 --to runs/digits"),
    (train, "nas train runs/digits 18 finals.epochs=60 finals.train_images=all"),
    (compress, "nas compress torchvision.resnet18 --data digits --ratio 0.5 --format int8 --to small"),
    (init, "nas init photos --minutes 60 --out photos.yaml"),
    (check, "nas check studies/digits.yaml"),
    (front, "nas front runs/digits --objectives accuracy,latency_ms --format csv"),
    (report, "nas report runs/digits"),
    (status, "nas status runs/digits --watch"),
    (logs, "nas logs runs/digits --trial 17 --level debug"),
    (sensitivity, "nas sensitivity runs/digits 17 --formats int8,int4,int2 --ratios 0.25,0.5"),
    (export, "nas export runs/digits 17 --to my-model"),
    (decode, "nas decode my-model/model.nasz --to model.onnx"),
    (measure, "nas measure my-model/model.onnx --threads 2 --format json"),
    (agent, "nas agent --host 0.0.0.0 --token-file agent.token --certificate c.pem --key k.pem"),
    (retry, "nas retry runs/digits 3 17"),
    (cache, "nas cache --clear"),
    (submit, "nas submit studies/digits.yaml --to slurm search.trials=480 --set nodes=4 --dry-run"),
    (schema, "nas schema > study.schema.json"),
)


def main() -> None:
    """Entry point: every mistake of the user is one message and exit code 2, never a traceback."""
    _print_anything()
    if any(option.startswith("e") for option in sys.warnoptions):  # "error": a library's deprecation would end a run
        warnings.simplefilter("default")
    console = Console(stderr=True)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        app()
    except InputError as error:
        console.print(f"[red]{escape(str(error))}[/]", highlight=False, soft_wrap=True)
        sys.exit(WRONG_INPUT)
    except OSError as error:
        problem, code = disk_problem(error), FAILED
        if problem is None and isinstance(error, PermissionError) and error.filename:
            problem, code = f"{error.filename}: no permission", WRONG_INPUT
        if problem is None:
            raise
        console.print(f"[red]{escape(problem)}[/]", highlight=False, soft_wrap=True)
        sys.exit(code)
    except PlaceLost as error:
        console.print(f"[red]{escape(str(error))}[/]", highlight=False, soft_wrap=True)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _print_anything() -> None:
    """Replace what the terminal's encoding lacks; in UTF-8 a file name of other bytes is printed as those bytes."""
    codecs.register_error("nas.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            utf8 = codecs.lookup(stream.encoding).name == "utf-8"
            stream.reconfigure(errors="surrogateescape" if utf8 else "nas.plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Plain characters for those that an encoding lacks."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, "?") for character in lacking), error.end


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"compact-nas {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


for _verb, _example in VERBS:
    app.command(epilog=f"Example:  {_example}")(_verb)


if __name__ == "__main__":
    main()
