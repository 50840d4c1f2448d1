"""`nas merge`: several runs of one study become one run folder, which `nas run` continues and `nas report` shows.

The runs are only read. What is told to differ between them may differ: how candidates were proposed, and what may
change in a run folder anyhow. Data, split, training and device must be the same, or values would not compare.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nas.data.split_record import moved as moved_files
from nas.errors import InputError
from nas.files import is_locked, write_atomically
from nas.records import State
from nas.run_folder.columns import repeat_columns, trial_columns
from nas.run_folder.exchange import is_half_done
from nas.run_folder.paths import RunFolder
from nas.run_folder.tables import write_rows
from nas.search.finalists import Finalists
from nas.search.merged_files import copy_files, measured_with
from nas.search.merged_journal import write_journal
from nas.search.merging import Counts, Merged, Run, merge_runs, read_run
from nas.search.references import References
from nas.search.repeats import by_trial
from nas.search.upkeep import write_fronts, write_references
from nas.study import Study
from nas.study.file import dump_study, frozen_difference, load_recorded

PROPOSING = (  # keys that decide which candidates a run has, and nothing of what comes of one
    ("search", "seed"), ("search", "sampler"), ("search", "anchors"), ("search", "calibration"),
    ("search", "population"), ("search", "warm_start"),
)  # fmt: skip


def merge(paths: Sequence[Path], to: Path) -> tuple[Sequence[Run], Merged]:
    """Write the merged run into the folder `to`, all of it or nothing.

    Raises InputError where there are fewer than two runs, where one cannot be read or is at work, where they are not of
    one study, split and device, or where `to` holds anything.
    """
    folders = _folders(paths, to)
    studies = [load_recorded(folder.study) for folder in folders]
    _refuse_other_studies(folders, studies)
    _refuse_other_networks(folders)
    split = _common_split(folders)
    runs = [read_run(*given) for given in zip(range(len(folders)), folders, studies, strict=True)]
    _refuse_other_devices(runs)
    merged = merge_runs(runs)
    study = _study_of(studies, merged)
    with _built(to) as folder:
        write_atomically(folder.study, dump_study(study))
        if split is not None:
            write_atomically(folder.split, split)
        copy_files(runs, merged, folder)
        write_journal(folder.journal, study, merged)
        _write_tables(study, folder, merged)
    return runs, merged


def _folders(paths: Sequence[Path], to: Path) -> list[RunFolder]:
    if len(paths) < 2:
        raise InputError(f"DIR: expected two run folders or more, got {len(paths)}")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise InputError(f"--to: expected a new or an empty folder, got {to}")
    folders = [RunFolder(path.resolve()) for path in paths]
    for number, folder in enumerate(folders):
        if not folder.study.is_file() or not folder.journal.is_file():
            raise InputError(f"{paths[number]}: expected a run folder, with study.yaml and study.log in it")
        if folder in folders[:number]:
            raise InputError(f"{paths[number]}: expected every run once, got it twice")
        if folder.lock.exists() and is_locked(folder.lock):
            raise InputError(f"{paths[number]}: a `nas run` works in this folder; stop it first, nothing is lost")
        if is_half_done(folder.path):
            raise InputError(f"{paths[number]}: its files were being exchanged; `nas run` completes that first")
    return folders


def _refuse_other_studies(folders: Sequence[RunFolder], studies: Sequence[Study]) -> None:
    first = studies[0]
    for folder, study in zip(folders[1:], studies[1:], strict=True):
        if different := frozen_difference(first, study, also=PROPOSING):
            lines = "\n  ".join(different)
            raise InputError(f"{folder.path}: is a run of another study than {folders[0].path}:\n  {lines}")
    for study in studies:
        if isinstance(study.finals.teacher, int):
            raise InputError(
                "finals.teacher: expected the folder of a network in runs that are merged, got the number "
                f"{study.finals.teacher}: trials are numbered anew"
            )


def _refuse_other_networks(folders: Sequence[RunFolder]) -> None:
    """Raises InputError where runs that name one existing network read different ones, or other weights of it."""
    read = [folder.network.read_bytes() if folder.network.exists() else b"" for folder in folders]
    for folder, network in zip(folders, read, strict=True):
        if network != read[0]:
            raise InputError(
                f"{folder.path}: is about another network than {folders[0].path}, though both name it alike: its code "
                "or its weights have changed between the runs"
            )


def _common_split(folders: Sequence[RunFolder]) -> str | None:
    """The text of split.json, as the newest version wrote it. Raises InputError where the runs have different ones."""
    texts = {folder: folder.split.read_text(encoding="utf-8") for folder in folders if folder.split.exists()}
    if not texts:
        return None
    fullest = max(texts.values(), key=len)
    for folder, text in texts.items():
        if not fullest.startswith(text.removesuffix("}")):
            raise InputError(
                f"{folder.path}: has another split of the data than the other runs, so that accuracies do not compare; "
                f"searches with different seeds share one where both have the same data.split_seed"
                f"{moved_files(fullest, text)}"
            )
    return fullest


def _refuse_other_devices(runs: Sequence[Run]) -> None:
    """Raises InputError where latencies were measured on different devices, runtimes or by different protocols."""
    ways = [measured_with(run) for run in runs]
    for run, way in zip(runs, ways, strict=True):
        lines = [
            f"{target}: {key}: {known[key]} -> {own[key]}"
            for target, own in way.items()
            for known in [next(other[target] for other in ways if target in other)]
            for key in known
            if known[key] != own[key]
        ]
        if lines:
            told = "\n  ".join(lines)
            raise InputError(f"{run.folder.path}: its latencies were measured in another way:\n  {told}")


def _study_of(studies: Sequence[Study], merged: Merged) -> Study:
    """The first run's study; as many trials as there are, and the first reference point that is fixed."""
    first = studies[0]
    complete = sum(one.row.state is State.COMPLETE for one in merged.of("search"))
    search = first.search.model_copy(update={"trials": max(first.search.trials, complete)})
    points = [study.report.hypervolume_reference for study in studies if study.report.hypervolume_reference]
    report = first.report.model_copy(update={"hypervolume_reference": points[0]}) if points else first.report
    return first.model_copy(update={"search": search, "report": report})


@contextmanager
def _built(to: Path) -> Iterator[RunFolder]:
    """A folder that becomes `to` once it is whole; a death leaves a hidden one beside it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    temporary = to.with_name(f".{to.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield RunFolder(temporary.resolve())
        temporary.rename(to)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_tables(study: Study, folder: RunFolder, merged: Merged) -> None:
    searched, again = ([one.row for one in merged.of(phase)] for phase in ("search", "repeat"))
    write_rows(folder.trials, trial_columns(study), searched)
    if again:
        write_rows(folder.repeats, repeat_columns(study), again)
    write_fronts(Finalists(study, folder), searched, by_trial(again))
    write_references(References(study, folder))


def lines_of(runs: Sequence[Run], merged: Merged) -> str:
    """What came of each run, a line each."""
    return "\n".join(_line(run, counts) for run, counts in zip(runs, merged.counts, strict=True))


def _line(run: Run, counts: Counts) -> str:
    taken = {
        "trial": counts.taken["search"],
        "repeat": counts.taken["repeat"],
        "finalist": counts.taken["final"],
        "reference": counts.taken["reference"],
    }
    words = [f"{count} {what}{'s' * (count != 1)}" for what, count in taken.items() if count or what == "trial"]
    words += [f"{counts.known} known from another"] * bool(counts.known)
    words += [f"{counts.unfinished} unfinished, left behind"] * bool(counts.unfinished)
    told = ", ".join(words)
    return f"{run.folder.path.name}: {told}"
