"""Several runs of one study as one: which evaluations it holds, under which numbers. Nothing is written here.

An evaluation is the same as another where candidate, searched numbers, seed, phase and recipe are: it stands once, the
better of both if one failed. A candidate that runs with other seeds have searched as well is one trial of the search,
the first complete one; its other trainings become repeats of it, which is what they are. Unfinished trials and
duplicates stay behind. Numbers are given anew, the runs one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from nas.candidates.hyperparameters import suffix_of
from nas.records import Phase, State
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import ROW, Identity, TrialNotes, TrialRow, row_in
from nas.samplers.reached import RUNGS
from nas.search.journal import sound_records
from nas.search.replay import Replay
from nas.study import Study

PHASES: Mapping[Phase, str] = {"search": "", "repeat": "/repeat", "final": "/final", "reference": "/reference"}
MERGED_FROM = "merged_from"  # the note that says which trial of which folder it was
NUMBERED = ("retry_of", "duplicate_of", RUNGS)  # notes that are of no use, or mean something else, under a new number
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
class Merged:
    """Evaluations in order of phase and number; `counts` is by run: how many came into each phase, what stayed."""

    moved: list[Moved] = field(default_factory=list)
    counts: list[dict[str, int]] = field(default_factory=list)

    def of(self, phase: Phase) -> list[Moved]:
        return [one for one in self.moved if one.phase == phase]


def read_run(number: int, folder: RunFolder, study: Study) -> Run:
    """The finished trials in a run's journal, which is not touched. Raises InputError where it is damaged."""
    replay = Replay()
    for record in sound_records(folder.journal):
        replay.apply(record)
    trials = {phase: replay.named(f"{study.name}{suffix}") for phase, suffix in PHASES.items()}
    found = [one for phase in PHASES for one in _evaluated(number, phase, trials[phase])]
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
    searched, again = _searched(_once(one for one in everything if one.phase == "search"))
    numbers: dict[Identity, int] = {one.notes.identity: number for number, one in enumerate(searched)}
    known = {(one.notes.identity, one.notes.seed) for one in searched}
    repeats = [*again, *(one for one in everything if one.phase == "repeat")]
    repeats = [one for one in repeats if (one.notes.identity, one.notes.seed) not in known]
    chosen: dict[Phase, list[Evaluated]] = {
        "search": searched,
        "repeat": _once(repeats),
        "final": _once(one for one in everything if one.phase == "final"),
        "reference": [one for one in everything if one.phase == "reference" and one.run == _first_with(everything)],
    }
    merged = Merged(counts=[{"unfinished": run.unfinished} for run in runs])
    for phase, ones in chosen.items():
        for number, one in enumerate(ones):
            merged.moved.append(_moved(one, phase, number, numbers, runs[one.run].folder))
            own = merged.counts[one.run]
            own[phase] = own.get(phase, 0) + 1
    for run, own in zip(runs, merged.counts, strict=True):
        own["left"] = len(run.evaluated) - sum(own.get(phase, 0) for phase in PHASES)
    return merged


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


def _first_with(everything: Sequence[Evaluated]) -> int | None:
    """The first run that has references: they are the same in all."""
    return next((one.run for one in everything if one.phase == "reference"), None)


def _moved(
    one: Evaluated, phase: Phase, number: int, numbers: Mapping[Identity, int], source: RunFolder
) -> Moved:  # fmt: skip
    """The evaluation under its new number: its row, its notes, and where its files are."""
    is_again = phase != one.phase
    artifact = one.row.artifact
    if is_again:
        artifact = source.relative(source.artifact(one.notes.id, phase, one.notes.seed, one.notes.settings))
    search_trial = numbers.get(one.notes.identity) if phase in ("repeat", "final") else None
    notes = replace(one.notes, retry_of=None, duplicate_of=None, search_trial=search_trial)
    row = replace(one.row, number=number, trial=search_trial, retry_of=None, artifact=artifact)
    if is_again:
        row = replace(row, rung=None, expected_gain=None, params={})
    kept = {key: value for key, value in one.trial.user_attrs.items() if key not in NUMBERED}
    came: dict[str, Any] = {MERGED_FROM: [str(source.path), one.trial.number]}
    trial = _trial(one.trial, is_again=is_again, notes={**kept, **notes.to_json(), **came, ROW: row.to_json()})
    return Moved(phase, trial, row, source.path / one.row.artifact, artifact)


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
