"""Verbs that put work into a run folder: run, merge, train, retry, submit."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from nas.command_line.arguments import Folder, Overrides, StudyFile, Trust, trusting
from nas.command_line.ending import fail, going_on_with, placing, readable
from nas.errors import InputError


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

    console, overrides = Console(), trusting(overrides, trust)
    loaded = load_study(study, overrides)
    folder = out or Path("runs") / loaded.name
    options = ["--out", str(folder), *(["--remeasure"] if remeasure else [])]
    again = shlex.join(["nas", "run", str(study), *overrides, *options])
    watchers = watchers_of(loaded, console)
    with going_on_with(again, console, watchers):
        with placing(study, overrides):
            ended = run_study(loaded, folder, console, watchers, remeasures=remeasure)
        report_and_front(folder, console)
        watchers.ended("" if ended else STOPPED)
    if not ended:
        console.print(f"Stopped before the end. Go on with:  {escape(again)}", soft_wrap=True)


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
    with readable(folder):
        watchers = watchers_of(load_recorded(folder / "study.yaml"), console)
        with going_on_with(again, console, watchers):
            with placing(folder / "study.yaml", overrides or []):
                row = train_trial(folder, trial, overrides or [], console, watchers)
            report_and_front(folder, console)
            watchers.ended("" if row is not None else STOPPED)
    if row is None:
        console.print(f"Stopped before the end. Go on with:  {escape(again)}", soft_wrap=True)
    elif row.state == "FAILED":
        fail(f"The training failed: {row.reason}")


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

    with readable(folder):
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
        fail(str(error))
    print(said, end="" if dry_run else "\n")
