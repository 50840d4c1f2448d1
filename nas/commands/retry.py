"""`nas retry`: failed trials are queued once more, for the next `nas run` to evaluate them again.

The journal only grows, and a result is never changed. So a retry is a trial of its own, with the candidate, parameters
and generation of the one it repeats, and the note `retry_of`; the failed row stays where it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas.errors import InputError
from nas.files import sole_holder
from nas.objectives import directions_of
from nas.records import Phase, State
from nas.run_folder.exchange import complete_exchange
from nas.run_folder.paths import RunFolder, read_evaluation
from nas.run_folder.rows import TrialNotes, TrialRow, row_in
from nas.search.journal import Journal
from nas.search.journal_file import repair
from nas.study.file import load_recorded


@dataclass(frozen=True)
class Retried:
    """A failed trial and the trial that repeats it. Finalists go by the number of their search trial, references by
    their names.
    """

    phase: Phase
    failed: int | str
    number: int
    reason: str


@dataclass(frozen=True)
class Told:
    """One trial of a journal study: its number there, its notes, and its row once it is finished."""

    number: int
    notes: TrialNotes
    row: TrialRow | None

    @property
    def shown(self) -> int | str:
        """The number that users know it by, or its name as a reference."""
        trial = self.notes.search_trial
        return self.notes.reference or (self.number if trial is None else trial)

    @property
    def state(self) -> State:
        return State.RUNNING if self.row is None else self.row.state


Journals = Mapping[Phase, Journal]


def retry(path: Path, trials: Sequence[int] = ()) -> list[Retried]:
    """Queue the failed trials of a run (those numbers, or all) once more; returns what was queued.

    Raises InputError where a run is going on in the folder, or where a number names no failed trial.
    """
    folder = RunFolder(path)
    study = load_recorded(folder.study)
    with sole_holder(folder.lock):
        complete_exchange(folder.path)
        repair(folder.journal)
        searched = Journal(folder.journal, study.name, directions_of(study.objectives))
        journals: Journals = {
            "search": searched,
            "final": Journal(folder.journal, f"{study.name}/final", ["maximize"], beside=searched),
            "reference": Journal(folder.journal, f"{study.name}/reference", ["maximize"], beside=searched),
        }
        failed = {phase: _failed(journal) for phase, journal in journals.items()}
        if wrong := set(trials) - {told.shown for found in failed.values() for told in found}:
            raise InputError(_why_not(min(wrong), journals))
        return [
            _queue(folder, phase, journal, told)
            for phase, journal in journals.items()
            for told in failed[phase]
            if not trials or told.shown in trials
        ]


def _told(journal: Journal) -> list[Told]:
    """Every trial of the journal."""
    return [
        Told(trial.number, TrialNotes.from_json(trial.user_attrs), row_in(trial.user_attrs))
        for trial in journal.trials()
    ]


def _failed(journal: Journal) -> list[Told]:
    """Trials that FAILED and have not been queued again since."""
    told = _told(journal)
    repeated = {one.notes.retry_of for one in told}
    return [one for one in told if one.state is State.FAILED and one.number not in repeated]


def _why_not(number: int, journals: Journals) -> str:
    for phase, journal in reversed(list(journals.items())):
        told = _told(journal)
        for one in told:
            if one.shown == number:
                again = [other.number for other in told if other.notes.retry_of == one.number]
                queued = f"queued again as trial {again[0]}" if phase == "search" and again else "queued again"
                what = queued if again else one.state
                return f"TRIAL: expected a trial that FAILED, got {number}, which is {what}"
    return f"TRIAL: expected a trial that FAILED, got {number}, which does not exist"


def _queue(folder: RunFolder, phase: Phase, journal: Journal, told: Told) -> Retried:
    """The record is moved aside first: a death in between leaves a failed trial, which the next retry queues."""
    notes = told.notes
    artifact = folder.artifact(notes.id, phase, notes.seed, notes.settings)
    if (artifact / "evaluation.json").exists():
        evaluation = read_evaluation(artifact)
        # After a death in between, the folder may already hold what a later attempt finished.
        if evaluation is not None and evaluation.state is State.FAILED:
            (artifact / "evaluation.json").rename(_aside(artifact))
    fresh = replace(notes, attempts=0, deaths=0, retry_of=told.number)  # the next run counts the first attempt
    number = journal.enqueue(fresh.to_json(), like=told.number)
    return Retried(phase, told.shown, number, told.row.reason if told.row else "")


def _aside(artifact: Path) -> Path:
    taken = len(list(artifact.glob("evaluation.failed-*.json")))
    return artifact / f"evaluation.failed-{taken + 1}.json"
