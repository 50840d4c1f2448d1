"""Several runs of one study as one: which evaluations it holds, under which numbers. Nothing is written here.

An evaluation is the same as another where candidate, searched numbers, seed, phase and recipe are: it stands once, the
better of both if one failed. A candidate that runs with other seeds have searched as well is one trial of the search,
the first complete one; its other trainings become repeats of it, which is what they are. Unfinished trials and
duplicates stay behind. Numbers are given anew, the runs one after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from nas.candidates.hyperparameters import suffix_of
from nas.errors import InputError
from nas.records import Phase, State
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import ROW, Identity, TrialNotes, TrialRow, row_in
from nas.samplers.reached import RUNGS
from nas.search.journal_file import sound_records, unusable
from nas.search.replay import Replay
from nas.study import Study

PHASES: Mapping[Phase, str] = {"search": "", "repeat": "/repeat", "final": "/final", "reference": "/reference"}
MERGED_FROM = "merged_from"  # the note that says which trial of which folder it was
NUMBERED = ("retry_of", "duplicate_of")  # notes of other numbers
BEST_FIRST = (State.COMPLETE, State.INFEASIBLE, State.PRUNED, State.FAILED)


@dataclass(frozen=True)
class Evaluated:
    """A finished trial of run number `run`, in its `phase`."""

    run: int
    phase: Phase
    trial: FrozenTrial
    notes: TrialNotes
    row: TrialRow

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes it the same evaluation as another of its phase."""
        return self.notes.id, suffix_of(self.notes.settings), self.notes.seed

    @property
    def rank(self) -> tuple[int, int, int]:
        """The better state first, then the earlier run and trial."""
        return BEST_FIRST.index(self.row.state), self.run, self.trial.number


@dataclass(frozen=True)
class Run:
    """What is read of a run folder: its study, and how many trials of each phase are `unfinished` there."""

    folder: RunFolder
    study: Study
    evaluated: Sequence[Evaluated]
    unfinished: int


@dataclass(frozen=True)
class Moved:
    """An evaluation in the merged run; its files go from `source` to `artifact`, relative to the merged folder."""

    phase: Phase
    trial: FrozenTrial
    row: TrialRow
    source: Path
    artifact: str


@dataclass
class Counts:
    """Of one run: `unfinished` trials that stay behind, evaluations `taken` by phase, those `known` already."""

    unfinished: int
    taken: Counter[Phase] = field(default_factory=Counter)
    known: int = 0


@dataclass
class Merged:
    """Evaluations in order of phase and number, and what came of each run."""

    moved: list[Moved] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)

    def of(self, phase: Phase) -> list[Moved]:
        return [one for one in self.moved if one.phase == phase]


def read_run(number: int, folder: RunFolder, study: Study) -> Run:
    """The finished trials in a run's journal, which is not touched. Raises InputError where it is damaged."""
    replay = Replay()
    try:
        for record in sound_records(folder.journal):
            replay.apply(record)
        trials = {phase: replay.named(f"{study.name}{suffix}") for phase, suffix in PHASES.items()}
        found = [one for phase in PHASES for one in _evaluated(number, phase, trials[phase])]
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise InputError(unusable(folder.journal, "a record", error)) from error
    left = sum(not trial.state.is_finished() for own in trials.values() for trial in own)
    return Run(folder, study, found, left)


def _evaluated(run: int, phase: Phase, trials: Iterable[FrozenTrial]) -> Iterator[Evaluated]:
    for trial in trials:
        row = row_in(trial.user_attrs) if trial.state.is_finished() else None
        if row is not None and row.state is not State.DUPLICATE:
            yield Evaluated(run, phase, trial, TrialNotes.from_json(trial.user_attrs), row)


def merge_runs(runs: Sequence[Run]) -> Merged:
    """What the merged run holds."""
    everything = [one for run in runs for one in run.evaluated]
    chosen = _chosen(everything)
    new = {one.notes.identity: number for number, one in enumerate(chosen["search"])}
    numbers = {(one.run, one.trial.number): new[one.notes.identity] for one in everything if one.phase == "search"}
    merged = Merged(counts=[Counts(run.unfinished) for run in runs])
    for phase, ones in chosen.items():
        for number, one in enumerate(ones):
            trial = _search_trial(one, phase, numbers)
            merged.moved.append(_moved(one, phase, number, trial, runs[one.run], without=_useless(runs[0].study)))
            merged.counts[one.run].taken[phase] += 1
    for run, counts in zip(runs, merged.counts, strict=True):
        counts.known = len(run.evaluated) - counts.taken.total()
    return merged


def _chosen(everything: Sequence[Evaluated]) -> dict[Phase, list[Evaluated]]:
    """What becomes of which phase, in order of number."""
    of: dict[Phase, list[Evaluated]] = {phase: [one for one in everything if one.phase == phase] for phase in PHASES}
    searched, again = _searched(_once(of["search"]))
    known = {(one.notes.identity, one.notes.seed) for one in searched}
    repeats = [one for one in [*again, *of["repeat"]] if (one.notes.identity, one.notes.seed) not in known]
    first = of["reference"][0].run if of["reference"] else None  # they are the same in all
    references = [one for one in of["reference"] if one.run == first]
    return {"search": searched, "repeat": _once(repeats), "final": _once(of["final"]), "reference": references}


def _useless(study: Study) -> set[str]:
    """Notes that are of no use under a new number, which decides what bracket of rungs a trial belongs to."""
    return {*NUMBERED, *([RUNGS] if study.search.brackets > 1 else [])}


def _search_trial(one: Evaluated, phase: Phase, numbers: Mapping[tuple[int, int], int]) -> int | None:
    """The new number of the search trial that a repeat or a finalist belongs to."""
    if phase not in ("repeat", "final"):
        return None
    own = one.trial.number if one.phase == "search" else one.notes.search_trial
    return None if own is None else numbers[one.run, own]


def _once(ones: Iterable[Evaluated]) -> list[Evaluated]:
    """The best of each evaluation, in order of run and number."""
    best: dict[tuple[str, str, int], Evaluated] = {}
    for one in ones:
        known = best.get(one.key)
        best[one.key] = one if known is None or one.rank < known.rank else known
    return sorted(best.values(), key=lambda one: (one.run, one.trial.number))


def _searched(ones: Sequence[Evaluated]) -> tuple[list[Evaluated], list[Evaluated]]:
    """One trial of each candidate, and its complete trainings with other seeds."""
    best: dict[Identity, Evaluated] = {}
    for one in ones:
        known = best.get(one.notes.identity)
        best[one.notes.identity] = one if known is None or one.rank < known.rank else known
    chosen = sorted(best.values(), key=lambda one: (one.run, one.trial.number))
    others = [one for one in ones if one is not best[one.notes.identity] and one.row.state is State.COMPLETE]
    return chosen, others


def _moved(
    one: Evaluated, phase: Phase, number: int, search_trial: int | None, run: Run, *, without: set[str]
) -> Moved:
    """The evaluation under its new number: its row, its notes, and where its files are."""
    is_again, artifact = phase != one.phase, one.row.artifact
    if is_again:
        folder = run.folder.artifact(one.notes.id, phase, one.notes.seed, one.notes.settings)
        artifact = run.folder.relative(folder)
    notes = replace(one.notes, retry_of=None, duplicate_of=None, search_trial=search_trial)
    row = replace(one.row, number=number, trial=search_trial, retry_of=None, artifact=artifact)
    if is_again:
        row = replace(row, rung=None, expected_gain=None, params={})
    kept = {key: value for key, value in one.trial.user_attrs.items() if key not in without}
    came: dict[str, Any] = {MERGED_FROM: [run.folder.path.name, one.trial.number]}
    trial = _trial(one.trial, is_again=is_again, notes={**kept, **notes.to_json(), **came, ROW: row.to_json()})
    return Moved(phase, trial, row, run.folder.path / one.row.artifact, artifact)


def _trial(trial: FrozenTrial, *, is_again: bool, notes: Mapping[str, Any]) -> FrozenTrial:
    """As it was, with other notes; a repeat has the accuracy as its only value, and no parameters."""
    values = trial.values
    if is_again:
        values = [notes[ROW]["accuracy"]]
    return FrozenTrial(
        number=trial.number,
        trial_id=trial.number,
        state=trial.state,
        value=None,
        values=values,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params={} if is_again else trial.params,
        distributions={} if is_again else trial.distributions,
        user_attrs=dict(notes),
        system_attrs={} if is_again else trial.system_attrs,
        intermediate_values={},
    )
