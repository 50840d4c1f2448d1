"""`nas retry`: failed trials are queued once more, for the next `nas run` to evaluate anew.

The journal only grows, and what was told stays told. So a retry is a trial of its own, with the candidate, parameters
and generation of the one it repeats, and the note `retry_of`; the failed row stays where it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.candidates.candidate import Candidate
from nas.errors import InputError
from nas.files import sole_holder
from nas.objectives import directions_of
from nas.records import Phase, State
from nas.run_folder.paths import RunFolder, read_evaluation
from nas.search.journal import Journal, repair
from nas.study.file import load_study

FRESH = {"attempts": 0, "deaths": 0}  # the next run counts the first attempt
KEPT = ("candidate", "id", "seed", "epochs", "training", "search_trial")


@dataclass(frozen=True)
class Retried:
    """A failed trial and the trial that repeats it. Finalists go by the number of their search trial."""

    phase: Phase
    failed: int
    number: int
    reason: str


@dataclass(frozen=True)
class _Told:
    """One trial of a journal study: its number for users, its state in our words, what was noted."""

    shown: int
    number: int
    state: str
    notes: Mapping[str, Any]


def retry(path: Path, trials: Sequence[int] = ()) -> list[Retried]:
    """Queue the failed trials of a run (those numbers, or all) once more; returns what was queued.

    Raises InputError where a run is going on in the folder, or where a number names no failed trial.
    """
    folder = RunFolder(path)
    study = load_study(folder.study)
    with sole_holder(folder.lock):
        repair(folder.journal)
        phases: list[tuple[Phase, Journal]] = [
            ("search", Journal(folder.journal, study.name, directions_of(study.objectives))),
            ("final", Journal(folder.journal, f"{study.name}/final", ["maximize"])),
        ]
        failed = {phase: _failed(journal) for phase, journal in phases}
        if wrong := set(trials) - {told.shown for found in failed.values() for told in found}:
            raise InputError(_why_not(min(wrong), phases))
        return [
            _queue(folder, phase, journal, told)
            for phase, journal in phases
            for told in failed[phase]
            if not trials or told.shown in trials
        ]


def _told(journal: Journal) -> list[_Told]:
    """Every trial of the journal."""
    return [
        _Told(
            trial.user_attrs.get("search_trial", trial.number),
            trial.number,
            str(trial.user_attrs.get("row", {}).get("state", State.RUNNING)),
            trial.user_attrs,
        )
        for trial in journal.trials()
    ]


def _failed(journal: Journal) -> list[_Told]:
    """Trials that FAILED and have not been queued again since."""
    told = _told(journal)
    repeated = {one.notes["retry_of"] for one in told if "retry_of" in one.notes}
    return [one for one in told if one.state == State.FAILED and one.number not in repeated]


def _why_not(number: int, phases: Sequence[tuple[Phase, Journal]]) -> str:
    for phase, journal in reversed(phases):
        told = _told(journal)
        for one in told:
            if one.shown == number:
                again = [other.number for other in told if other.notes.get("retry_of") == one.number]
                anew = f"queued again as trial {again[0]}" if phase == "search" and again else "queued again"
                what = anew if again else one.state
                return f"TRIAL: expected a trial that FAILED, got {number}, which is {what}"
    return f"TRIAL: expected a trial that FAILED, got {number}, which does not exist"


def _queue(folder: RunFolder, phase: Phase, journal: Journal, told: _Told) -> Retried:
    """The record goes aside first: a death in between leaves a failed trial, which the next retry queues."""
    candidate = Candidate.from_json(told.notes["candidate"])
    artifact = folder.artifact(candidate.id, phase, told.notes["seed"], told.notes.get("training", {}))
    if (artifact / "evaluation.json").exists():
        evaluation = read_evaluation(artifact)
        # After a death in between, the folder may already hold what a later attempt finished.
        if evaluation is not None and evaluation.state is State.FAILED:
            (artifact / "evaluation.json").rename(_aside(artifact))
    notes = {name: told.notes[name] for name in KEPT if name in told.notes}
    number = journal.enqueue({**notes, **FRESH, "retry_of": told.number}, like=told.number)
    return Retried(phase, told.shown, number, told.notes["row"]["reason"])


def _aside(artifact: Path) -> Path:
    taken = len(list(artifact.glob("evaluation.failed-*.json")))
    return artifact / f"evaluation.failed-{taken + 1}.json"
