"""Before any work of `nas run` and `nas train`: the study as its folder fixes it, refusals, the data, their split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from rich.console import Console
from rich.markup import escape

from nas.commands.data import show_data
from nas.commands.refusals import refuse
from nas.data import DataSet
from nas.data.describe import describe
from nas.data.of_study import loaded_of
from nas.data.split_record import moved
from nas.errors import InputError
from nas.executors.engine import Connection, Engine
from nas.files import write_atomically
from nas.measuring.again import changes
from nas.measuring.agent.greeting import greet
from nas.measuring.places import Places, places_of
from nas.records import Latency
from nas.registry import ENGINES
from nas.run_folder.network import keep_network
from nas.run_folder.paths import RunFolder, read_evaluation
from nas.search.earlier import earlier_runs
from nas.search.journal_file import repair
from nas.search.sampling import default_population
from nas.study import Study, Target
from nas.study.file import CHANGEABLE, dump_study, frozen_difference, load_recorded
from nas.study.search import is_scan

MOST_LOOKED_AT = 200  # records in which latencies of all targets are looked for


@dataclass(frozen=True)
class Ready:
    """A study's data, in the largest size: what trials, and what finalists, are trained on."""

    search: DataSet
    finals: DataSet

    @property
    def train_images(self) -> int:
        """The most that either has."""
        return max(len(self.search.train), len(self.finals.train))


@contextmanager
def connected(study: Study, folder: RunFolder, console: Console) -> Iterator[tuple[Connection, Study]]:
    """Refuse what cannot be run here, ask the agents, and reach the engine; the study with its workers there."""
    refuse(study, folder)
    for notice in greet(study.targets):
        console.print(f"[yellow]warning:[/] {escape(notice)}", soft_wrap=True)
    engine: Engine = ENGINES[study.search.engine]
    with engine.connect(study, folder) as connection:
        search = study.search.model_copy(update={"workers": connection.workers})
        yield connection, study.model_copy(update={"search": search})


def prepare(
    study: Study,
    folder: RunFolder,
    console: Console,
    *,
    places: Places | None = None,
    record: bool = True,
    any_device: bool = False,
) -> Ready:
    """Repair the journal, read the data, record study (if asked) and split.

    Another device is refused first, unless `any_device` will do. `places` are where targets are measured, by default
    those of `places_of`.
    """
    if not any_device:
        _refuse_another_device(study, folder, places or places_of(study.targets))
    earlier_runs(study, folder)
    if cut := repair(folder.journal):
        console.print(f"[yellow]{folder.journal.name}: a torn last record of {cut} bytes was removed.[/]")
    with console.status("reading the data"):
        ready = Ready(loaded_of(study, "search"), loaded_of(study, "finals"))
        summary = describe(study, ready.finals)
    data, finals = ready.search, ready.finals
    _keep_split(study, folder, data)
    keep_network(study, folder)
    if record:
        write_atomically(folder.study, dump_study(study))
    show_data(study, summary, console)
    of_finals = "" if len(finals.train) == len(data.train) else f" (finalists {len(finals.train)})"
    console.print(
        f"{study.name}: {len(data.train)} training{of_finals}, {len(data.validation)} validation, "
        f"{len(data.split.test)} test images of {len(data.class_names)} classes"
    )
    for leak in finals.leaks:  # as `nas check` tells them
        console.print(f"[yellow]warning:[/] {escape(leak)}", soft_wrap=True)
    return ready


def resolve(study: Study, folder: RunFolder) -> Study:
    """The study with its defaults fixed; in an existing run folder, what shaped the earlier trials must not differ."""
    if folder.study.exists():
        recorded = load_recorded(folder.study)
        study = _with_rungs(study, recorded.rungs or study.rungs)
        study = _with_population(study, recorded.search.population)
        study = _with_reference(study, recorded)
        if different := frozen_difference(_without_scans(recorded), _without_scans(study)):
            lines, changeable = "\n  ".join(different), ", ".join(map(".".join, CHANGEABLE))
            raise InputError(
                f"{folder.path}: holds a run of another study; recorded -> asked for:\n  {lines}\n"
                f"Only {changeable} and scans in search.warm_start may change; use another --out."
            )
        return study
    # A run killed before study.yaml was whole has left no more than these.
    files = (folder.lock, folder.split, folder.earlier, folder.data, folder.network, folder.network_weights)
    own, unfinished = [file.name for file in files], ".tmp"
    names = sorted(entry.name for entry in folder.path.iterdir())
    if strangers := [name for name in names if name not in own and not name.endswith(unfinished)]:
        raise InputError(f"{folder.path}: is no run folder, but not empty either (it holds {strangers[0]!r})")
    return _with_population(_with_rungs(study, study.rungs), default_population(study.search.trials))


def _without_scans(study: Study) -> Study:
    """A scan suggests candidates, and changes none that is there."""
    folders = tuple(name for name in study.search.warm_start if not is_scan(name))
    return study.model_copy(update={"search": study.search.model_copy(update={"warm_start": folders})})


def _with_rungs(study: Study, rungs: tuple[float, ...]) -> Study:
    """What `auto` stands for is fixed at the first run."""
    if study.search.rungs != "auto":
        return study
    return study.model_copy(update={"search": study.search.model_copy(update={"rungs": rungs})})


def _with_population(study: Study, population: int | None) -> Study:
    """The population is fixed at the first run, so that raising `trials` later changes no candidate."""
    if study.search.population is not None:
        return study
    search = study.search.model_copy(update={"population": population})
    return study.model_copy(update={"search": search})


def _with_reference(study: Study, recorded: Study) -> Study:
    """The hypervolume's reference point is fixed early, so that a longer search continues the same curve."""
    point = recorded.report.hypervolume_reference
    if study.report.hypervolume_reference or not point:
        return study
    return study.model_copy(update={"report": study.report.model_copy(update={"hypervolume_reference": point})})


def _keep_split(study: Study, folder: RunFolder, data: DataSet) -> None:
    """Record the split; refuse a recorded one that differs.

    Older versions recorded less of it: the indices, or these and a digest of all images, with which theirs begins.
    """
    text = data.split.to_json(data.file_names)
    recorded = folder.split.read_text(encoding="utf-8") if folder.split.exists() else "}"
    if not text.startswith(recorded.removesuffix("}")):
        older = " (Earlier versions read group_pattern as data.group_scope=all.)" if study.data.group_pattern else ""
        raise InputError(
            f"{folder.split}: was recorded of other images, classes or parts than are found now; has the data changed?"
            f"{older}{moved(recorded, text)}"
        )
    write_atomically(folder.split, text)


def _refuse_another_device(study: Study, folder: RunFolder, places: Places) -> None:
    """Raises InputError where the run's latencies were measured on another device, runtime or by another protocol."""
    if different := measured_otherwise(_recorded_latencies(study, folder), study.targets, places):
        lines = "\n  ".join(different)
        raise InputError(
            f"{folder.path}: its latencies were measured in another way than they would be here; "
            f"recorded -> here:\n  {lines}\n"
            "Continue it where it was started, measure its latencies again here (nas run --remeasure), or start again "
            "with another --out."
        )


def _recorded_latencies(study: Study, folder: RunFolder) -> dict[str, Latency]:
    """The first latency found on each target; one that no file of many runs on is looked for in a few records."""
    found: dict[str, Latency] = {}
    for artifact in islice((folder.path / "artifacts").glob("*/*"), MOST_LOOKED_AT):
        evaluation = read_evaluation(artifact)
        if evaluation is not None and evaluation.measurement is not None:
            found = {**evaluation.measurement.latency, **found}
        if all(target.name in found for target in study.targets):
            break
    return found


def measured_otherwise(latencies: Mapping[str, Latency], targets: Sequence[Target], places: Places) -> list[str]:
    """What would differ from the recorded latencies by target, a line each; targets after the first are named."""
    lines = []
    for target in targets:
        if target.name in latencies:
            name = "" if target == targets[0] else f"{target.name}: "
            here = places[target.name].fingerprint(target)
            lines += [f"{name}{change}" for change in changes(latencies[target.name], here)]
    return lines
