"""The command line: nas init | compress | run | merge | train | check | cache | front | report | status | logs |
sensitivity | export | decode | measure | agent | retry | submit | schema.

Heavy imports wait until a command needs them.
"""

from __future__ import annotations

import codecs
import io
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from nas import __version__
from nas.errors import InputError, PlaceLost, disk_problem

if TYPE_CHECKING:
    from nas.executors.watching import Watchers
    from nas.study import Study

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Search compact networks jointly over architecture, pruning and bit-widths; ship the files measured.",
)
PLAIN = {"\u202f": " ", "\u00a0": " ", "±": "+-", "–": "-", "×": "x", "…": "...", "━": "-", "−": "-", "·": "*"}
DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file, e.g. studies/digits.yaml.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE ...]", help="Dotted keys, values read as YAML.")
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run the code of your own that the study names: space.trusted=true.")
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A run folder, e.g. runs/digits.")]


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


@app.command(epilog="Example:  nas run studies/digits.yaml search.trials=48 --out runs/digits-48")
def run(
    study: StudyFile,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The run folder itself; runs/<study name> by default.")] = None,
    remeasure: Annotated[
        bool, typer.Option("--remeasure", help="Measure what was measured on another device again, then go on.")
    ] = False,
    trust: Trust = False,
) -> None:
    """Run a study, or continue it in an existing run folder.

    Ctrl-C once finishes the running trials and exits; twice stops at once. SIGTERM pauses them at their next checkpoint
    and exits with 143, within 25 seconds. Nothing finished is lost: the same command continues.
    """
    from nas.commands.report import report_and_front
    from nas.commands.run import run as run_study
    from nas.commands.run import watchers_of
    from nas.executors.watching import STOPPED
    from nas.study.file import load_study

    console, overrides = Console(), _trusting(overrides, trust)
    loaded = load_study(study, overrides)
    folder = out or Path("runs") / loaded.name
    options = ["--out", str(folder), *(["--remeasure"] if remeasure else [])]
    again = shlex.join(["nas", "run", str(study), *overrides, *options])
    watchers = watchers_of(loaded, console)
    with _going_on_with(again, console, watchers):
        with _placing(study, overrides):
            ended = run_study(loaded, folder, console, watchers, remeasures=remeasure)
        report_and_front(folder, console)
        watchers.ended("" if ended else STOPPED)
    if not ended:
        console.print(f"Stopped before the end. Go on with:  {escape(again)}", soft_wrap=True)


def _trusting(overrides: list[str] | None, trust: bool) -> list[str]:
    """What is given on the command line, with the trust of an option as a key."""
    return [*(overrides or []), *(["space.trusted=true"] if trust else [])]


@app.command(epilog="Example:  nas merge runs/digits-0 runs/digits-1 --to runs/digits")
def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR DIR ...", help="Run folders of one study; they are only read.")
    ],
    to: Annotated[Path, typer.Option(help="A new or an empty folder.")],
) -> None:
    """Join runs of one study into one run folder, which `nas run` can continue.

    Every evaluation stands once, under a new number; a candidate that another seed trained as well has repeats of it.
    The runs must have the same data, split, training and device; how they proposed candidates may differ.
    """
    from nas.commands.merge import lines_of
    from nas.commands.merge import merge as merge_runs
    from nas.commands.report import report_and_front

    console, to = Console(), to.resolve()  # what is built takes its place: not that of a link, or of `.`
    with console.status("merging"):
        runs, merged = merge_runs(folders, to)
    console.print(lines_of(runs, merged), markup=False, highlight=False, soft_wrap=True)
    report_and_front(to, console)


@app.command(epilog="Example:  nas train runs/digits 18 finals.epochs=60 finals.train_images=all")
def train(
    folder: Folder,
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="A trial number or the beginning of an id.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[finals.KEY=VALUE ...]", help="What differs from the run's finals."),
    ] = None,
) -> None:
    """Train one network of a run on, by a recipe of its own, as a further finalist.

    It is trained from its first weights, tested, and stands beside the others in finalists.csv, front.csv and report.
    After a kill the same command goes on.
    """
    from nas.commands.report import report_and_front
    from nas.commands.run import watchers_of
    from nas.commands.train import train as train_trial
    from nas.executors.watching import STOPPED
    from nas.study.file import load_recorded

    console = Console()
    again = shlex.join(["nas", "train", str(folder), trial, *(overrides or [])])
    with _readable(folder):
        watchers = watchers_of(load_recorded(folder / "study.yaml"), console)
        with _going_on_with(again, console, watchers):
            with _placing(folder / "study.yaml", overrides or []):
                row = train_trial(folder, trial, overrides or [], console, watchers)
            report_and_front(folder, console)
            watchers.ended("" if row is not None else STOPPED)
    if row is None:
        console.print(f"Stopped before the end. Go on with:  {escape(again)}", soft_wrap=True)
    elif row.state == "FAILED":
        _fail(f"The training failed: {row.reason}")


def _fail(words: str) -> NoReturn:
    """End with exit code 1."""
    Console(stderr=True).print(f"[red]{escape(words)}[/]", highlight=False, soft_wrap=True)
    raise typer.Exit(FAILED) from None


@contextmanager
def _going_on_with(again: str, console: Console, watchers: Watchers | None = None) -> Iterator[None]:
    """Say why work ended before its end, to watchers too; `again` is the command that goes on."""
    from nas.commands.ending import told_to
    from nas.executors.loop import WorkFailed
    from nas.executors.stopping import TERMINATED, Interrupted, Terminated
    from nas.executors.watching import nobody

    try:
        with told_to(watchers or nobody()):
            yield
    except (WorkFailed, PlaceLost) as error:
        _fail(str(error))
    except Interrupted:
        console.print(f"Stopped. Go on with:  {escape(again)}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    except Terminated:
        console.print(f"Terminated; no report was written. Go on with:  {escape(again)}", soft_wrap=True)
        raise typer.Exit(TERMINATED) from None


@contextmanager
def _placing(study: Path, overrides: list[str]) -> Iterator[None]:
    """Add file and line to an error about a key that only shows while the study is at work."""
    from nas.study.file import placed

    try:
        yield
    except InputError as error:
        raise InputError(placed(str(error), study, overrides)) from None


@app.command(epilog="Example:  nas compress torchvision.resnet18 --data digits --ratio 0.5 --format int8 --to small")
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
    _threads_for(1, likely_size(wishes))
    from nas.commands.compress import compress as compress_network
    from nas.commands.compress_view import print_comparison
    from nas.errors import CandidateFailed

    console = Console()
    again = shlex.join(["nas", *sys.argv[1:]])
    try:
        with _going_on_with(again, console):
            found = compress_network(with_fitting_size(wishes), to, console, html=html)
    except KeyboardInterrupt:
        console.print(f"Stopped. Go on with:  {escape(again)}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    except CandidateFailed as error:
        _fail(f"The training failed: {error}")
    if found is None:
        console.print(f"Stopped before the end. Go on with:  {escape(again)}", soft_wrap=True)
        return
    print_comparison(console, found.comparison, layers=layers)
    console.print(f"Written:  {escape(str(to))}", soft_wrap=True)


@app.command(epilog="Example:  nas init photos --minutes 60 --out photos.yaml")
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


@app.command(epilog="Example:  nas check studies/digits.yaml")
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

    overrides = _trusting(overrides, trust)
    loaded = load_study(study, overrides)
    console = Console()
    with _placing(study, overrides):
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


def _threads_as_in_a_worker(study: Study) -> None:
    """As many threads as in a worker; to be called before torch is imported."""
    _threads_for(study.search.worker_count, study.space.input_sizes[-1])


def _threads_for(workers: int, input_size: int) -> None:
    from nas.executors.environment import worker_environment
    from nas.machine import threads_per_worker

    os.environ.update(worker_environment(threads_per_worker(workers, input_size)))


def _probe(study: Study, console: Console) -> None:
    _threads_as_in_a_worker(study)
    from nas.commands.probe import probe as run_probe
    from nas.commands.probe import probe_tables
    from nas.commands.probe import warnings_of as warnings_of_probe

    with console.status("probing") as status:
        found = run_probe(study, say=status.update)
    for table in probe_tables(found):
        console.print(table)
    for warning in warnings_of_probe(found):
        console.print(f"[yellow]warning:[/] {escape(warning)}")


@app.command(epilog="Example:  nas front runs/digits --objectives accuracy,latency_ms --format csv")
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

    with _readable(folder):
        names = asked_objectives(folder, objectives)
        if style == "table":
            print_front(Console(), folder, names, at_most=at_most)
        else:
            members = thinned(front_rows(folder, names), names, at_most)
            print(format_front(members, style), end="")
            if members.empty:
                Console(stderr=True).print(why_empty(folder, names), markup=False, highlight=False, soft_wrap=True)


@app.command(epilog="Example:  nas report runs/digits")
def report(folder: Folder) -> None:
    """Write report.html and front.png of a run again."""
    from nas.commands.report import write_report
    from nas.study.file import load_study

    with _readable(folder):
        write_report(folder, load_study(folder / "study.yaml"), Console())
    print(folder / "report.html")


@app.command(epilog="Example:  nas status runs/digits --watch")
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

    with _there(folder):
        show_status(folder, "json" if as_json else style, watch=watch, console=Console())


@app.command(epilog="Example:  nas logs runs/digits --trial 17 --level debug")
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

    with _there(folder):
        for line in lines_of(folder, Wanted(Level.named(level), trial), follow=follow):
            print(line, flush=follow)


@app.command(epilog="Example:  nas sensitivity runs/digits 17 --formats int8,int4,int2 --ratios 0.25,0.5")
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

    with _readable(folder):
        study = load_study(folder / "study.yaml")
    _threads_as_in_a_worker(study)
    from nas.commands.report import write_report
    from nas.commands.sensitivity import Wishes, print_scan
    from nas.commands.sensitivity import sensitivity as run_scan

    console = Console()
    wishes = Wishes.of(formats, ratios, images)
    again = shlex.join(["nas", *sys.argv[1:]])
    try:
        with _readable(folder), console.status("scanning") as status:
            found = run_scan(folder, trial, wishes, tell=lambda n, total: status.update(f"scanning: {n} of {total}"))
    except KeyboardInterrupt:
        console.print(f"Stopped. Go on with:  {escape(again)}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    print_scan(console, found, folder)
    write_report(folder, study, console)


@app.command(epilog="Example:  nas export runs/digits 17 --to my-model")
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

    with _readable(folder):
        written = export_trial(folder, trial, to, coded=coded)
    for file in written:
        print(file)


@app.command(epilog="Example:  nas decode my-model/model.nasz --to model.onnx")
def decode(
    file: Annotated[Path, typer.Argument(metavar="MODEL.nasz", help="A file that `nas export --coded` wrote.")],
    to: Annotated[Path | None, typer.Option(help="The file to write; beside MODEL.nasz by default.")] = None,
) -> None:
    """Give an entropy-coded model back as the file that it was made from, byte for byte."""
    from nas.commands.decode import decode_file

    print(decode_file(file, to))


@app.command(epilog="Example:  nas measure my-model/model.onnx --threads 2 --format json")
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


@app.command(epilog="Example:  nas agent --host 0.0.0.0 --token-file agent.token --certificate c.pem --key k.pem")
def agent(
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8947,
    token_file: Annotated[Path | None, typer.Option(help="Holds the token; made where it is missing.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file: https instead of http.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="One measurement may take.")] = 120,
    megabytes: Annotated[float, typer.Option(min=0.001, help="A file may have.")] = 64,
    gigabytes: Annotated[float, typer.Option(min=0, help="Of memory a measurement may take; 0 is no limit.")] = 2,
) -> None:
    """Measure files on this device for studies that run elsewhere, as targets: [{agent: "http://HOST:PORT"}] says.

    Whoever asks must know the token: that of the file, else of the variable COMPACT_NAS_AGENT_TOKEN, else a new one,
    which is shown once. SIGTERM or Ctrl-C ends the agent after the measurement it is at.
    """
    from nas.measuring.agent.serving import Options, serve

    serve(Options(host, port, token_file, certificate, key, seconds, megabytes, gigabytes))


@app.command(epilog="Example:  nas retry runs/digits 3 17")
def retry(
    folder: Folder,
    trials: Annotated[
        list[int] | None, typer.Argument(metavar="[TRIAL ...]", help="All that FAILED by default.")
    ] = None,
) -> None:
    """Queue failed trials again; the next nas run on the folder evaluates them.

    A trial gets a new number, with the same candidate, and its row says whose retry it is. The failure's record stays
    beside it as evaluation.failed-1.json.
    """
    from nas.commands.retry import retry as queue_again

    with _readable(folder):
        queued = queue_again(folder, trials or [])
    for one in queued:
        what = f"trial {one.failed} is queued again as {one.number}"
        if one.phase == "final":  # a finalist goes by the number of its search trial, again
            what = f"finalist {one.failed} is queued again"
        if one.phase == "reference":
            what = f"the {one.failed} is queued again"
        print(f"{what}; it had failed with: {one.reason}")
    again = shlex.join(["nas", "run", str(folder / "study.yaml"), "--out", str(folder)])
    print(f"Go on with:  {again}" if queued else "Nothing failed that is not queued again already.")


@app.command(epilog="Example:  nas cache --clear")
def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove it all; what is needed again is decoded again.")
    ] = False,
) -> None:
    """Show where decoded images are kept and how large they are."""
    from nas.commands.cache import cache_table
    from nas.commands.cache import clear as remove_all
    from nas.data import cache_folder
    from nas.data.tables import megabytes

    folder = cache_folder()
    print(f"Cache: {folder}")  # whole: a table's title is cut to its width, and reads brackets as markup
    Console().print(cache_table(folder))
    if clear:
        print(f"Removed {megabytes(remove_all(folder))}.")


@app.command(epilog="Example:  nas submit studies/digits.yaml --to slurm search.trials=480 --set nodes=4 --dry-run")
def submit(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="A study file, e.g. studies/digits.yaml.")
    ] = None,
    overrides: Overrides = None,
    to: Annotated[str, typer.Option("--to", metavar="ray|kubernetes|slurm", help="Who is to run it.")] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="OPTION=VALUE", help="An option of the job; may be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the job and submit nothing.")] = False,
    options: Annotated[bool, typer.Option("--options", help="List what --set takes, and submit nothing.")] = False,
) -> None:
    """Hand a study to a cluster: Ray's job API, a KubeRay RayJob, or an sbatch script of Slurm.

    KEY=VALUE are keys of the study, --set are options of the job. Whatever ends the job, submitting it again goes on
    with its run folder.
    """
    from nas.commands.submit import options_table
    from nas.commands.submit import submit as submit_study
    from nas.jobs.job import SubmitFailed

    if options:
        Console().print(options_table(to))
        return
    if study is None:
        raise InputError("STUDY: expected a study file, got nothing")
    try:
        said = submit_study(study, overrides or [], to, settings or [], dry_run=dry_run)
    except SubmitFailed as error:
        _fail(str(error))
    print(said, end="" if dry_run else "\n")


@app.command(epilog="Example:  nas schema > study.schema.json")
def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="All keys in tables, for readers.")] = False,
) -> None:
    """Print the JSON schema of a study file, for editors, or its keys in tables."""
    from nas.study.reference import reference
    from nas.study.schema import study_schema

    print(reference() if markdown else study_schema(), end="" if markdown else "\n")


@contextmanager
def _readable(folder: Path) -> Iterator[Any]:
    """A run folder that a reading command can use, or one clear error."""
    with _there(folder):
        if not (folder / "study.yaml").exists():
            raise InputError(f"{folder}: expected a run folder, with study.yaml in it")
        if not (folder / "trials.csv").exists():
            raise InputError(f"{folder}: holds no trials.csv yet; has the run started?")
        yield


@contextmanager
def _there(folder: Path) -> Iterator[None]:
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


if __name__ == "__main__":
    main()
