"""What is done to a run folder after each finished trial: its row, the reference point, files no longer needed.

Every step looks at the folder and does what is missing, so that a death between two of them costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from itertools import islice

from nas.files import write_atomically
from nas.front import fronts
from nas.objectives import beyond_worst
from nas.records import State
from nas.run_folder.columns import finalist_columns, front_columns, reference_columns, repeat_columns, trial_columns
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import TrialRow
from nas.run_folder.tables import append_row, count_rows, write_rows
from nas.runtimes.runtime import file_names
from nas.search.finalists import Finalists
from nas.search.references import References
from nas.search.repeats import Repeats
from nas.search.sampling import default_population
from nas.search.search import Search
from nas.search.standing import front_of, points_of, standing
from nas.search.sureness import Repeated, with_p_on_front, with_seeds
from nas.study import Study
from nas.study.file import dump_study


def write_front(search: Search, repeats: Repeats, finalists: Finalists) -> None:
    """front.csv, over the finalists as soon as one is complete, over the search's trials until then."""
    write_fronts(finalists, search.rows(), repeats.by_trial())


def write_fronts(finalists: Finalists, searched: Sequence[TrialRow], again: Repeated) -> None:
    """finalists.csv and front.csv, with the rows of the search and the repeats of its trials."""
    study, folder = finalists.study, finalists.folder
    accuracies = {row.number: row.accuracy for row in searched}
    final = [replace(row, search_accuracy=accuracies.get(row.shown)) for row in finalists.rows()]
    objectives, seed = study.objectives, study.search.seed
    final = with_seeds(with_p_on_front(final, objectives, seed=seed), again)
    if final:
        write_rows(folder.finalists, finalist_columns(study), final)
    rows = final if standing(final) else with_seeds(with_p_on_front(searched, objectives, again, seed=seed), again)
    write_rows(folder.front, front_columns(study), front_of(rows, objectives))


def write_references(references: References) -> None:
    """references.csv, once one is there."""
    rows = references.rows()
    if rows or references.folder.references.exists():
        write_rows(references.folder.references, reference_columns(references.study), rows)


def write_repeats(repeats: Repeats) -> None:
    """repeats.csv, where there are any; with `artifacts.keep: front` only their records are kept, never their files."""
    study, folder, rows = repeats.study, repeats.folder, repeats.rows()
    if not rows:
        return
    write_rows(folder.repeats, repeat_columns(study), rows)
    if study.artifacts.keep == "front":
        for row in rows:
            _drop_bulky(folder, row, study)


class Upkeep:
    """Call it after each result. trials.csv is rebuilt at the start where it is short or has other columns."""

    def __init__(self, search: Search) -> None:
        self._search, self._columns = search, trial_columns(search.study)
        rows = search.rows()
        if count_rows(search.folder.trials, self._columns) != len(rows):
            write_rows(search.folder.trials, self._columns, rows)
        self._written = {row.number for row in rows}
        self._looked_at: set[int] = set()
        self._kept: list[TrialRow] = []
        self._has_reference_point = bool(search.study.report.hypervolume_reference)

    def __call__(self) -> None:
        rows = self._search.rows()
        for row in new_rows(rows, self._written):
            append_row(self._search.folder.trials, self._columns, row)
            self._written.add(row.number)
        self._fix_reference_point(rows)
        if self._search.study.artifacts.keep == "front":
            self._trim(rows)

    def _fix_reference_point(self, rows: Sequence[TrialRow]) -> None:
        """Write the hypervolume's reference point into study.yaml once a generation's worth of trials is complete."""
        study = self._search.study
        population = study.search.population or default_population(study.search.trials)
        if self._has_reference_point:
            return
        complete = [row for row in rows if row.state is State.COMPLETE]
        if len(complete) < population:
            return
        # Of these alone, so that a driver that died before it could write fixes the same point.
        fixed = with_reference_point(study, complete[:population])
        write_atomically(self._search.folder.study, dump_study(fixed))
        self._has_reference_point = True

    def _trim(self, rows: Sequence[TrialRow]) -> None:
        """Compare new rows with those that were worth keeping: one that was not never is, however many come.

        Each trial once: a failed one shares its folder with a retry that may be at work there.
        """
        if not (new := new_rows(rows, self._looked_at)):
            return
        able = [*self._kept, *new]
        wanted = {row.artifact for row in worth_keeping(able, self._search.study)}
        for row in able:
            if row.artifact not in wanted:
                _drop_bulky(self._search.folder, row, self._search.study)
        self._kept = [row for row in able if row.artifact in wanted]
        self._looked_at |= {row.number for row in new}


def new_rows(rows: Sequence[TrialRow], known: Set[int]) -> list[TrialRow]:
    """The rows that are not `known` by number, in their order; as a rule they are among the last."""
    missing = len(rows) - len(known)
    found = islice((row for row in reversed(rows) if row.number not in known), missing)
    return list(found)[::-1]


def _drop_bulky(folder: RunFolder, row: TrialRow, study: Study) -> None:
    for name in bulky_files(study):
        (folder.path / row.artifact / name).unlink(missing_ok=True)


def bulky_files(study: Study) -> tuple[str, ...]:
    """The large files of an artifact folder: every target's file, and the weights they were made from."""
    return (*dict.fromkeys(file_names(study.targets).values()), "weights.safetensors")


def with_reference_point(study: Study, complete: Sequence[TrialRow]) -> Study:
    """The study with the point 10 % beyond the worst of `complete` in every objective."""
    point = {name: beyond_worst(name, [row.value(name) for row in complete]) for name in study.objectives}
    report = study.report.model_copy(update={"hypervolume_reference": point})
    return study.model_copy(update={"report": report})


def worth_keeping(rows: Sequence[TrialRow], study: Study) -> list[TrialRow]:
    """The front, and whole fronts below it while there are fewer than the finalists that will be chosen.

    Finalists are trained again from the journal; they need none of the search's files.
    """
    able = standing(rows)
    kept = list[TrialRow]()
    for front in fronts(points_of(able, study.objectives)):
        kept += [able[i] for i in front]
        if len(kept) >= max(1, study.search.finalists):
            break
    return kept
