"""The journal of a merged run, written at once."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.storages import JournalStorage

from nas.errors import InputError
from nas.files import write_atomically
from nas.objectives import directions_of
from nas.search.collected import Collected
from nas.search.journal import Direction
from nas.search.journal_file import unusable
from nas.search.merging import MERGED_FROM, PHASES, Merged
from nas.study import Study


def write_journal(file: Path, study: Study, merged: Merged) -> None:
    """One Optuna study for each phase that holds something, with its trials in order of number."""
    records = Collected()  # in a file each of them would be synced on its own
    storage = JournalStorage(records)
    for phase, suffix in PHASES.items():
        if not (moved := merged.of(phase)):
            continue
        directions: list[Direction] = directions_of(study.objectives) if phase == "search" else ["maximize"]
        own = optuna.create_study(storage=storage, study_name=f"{study.name}{suffix}", directions=directions)
        for one in moved:
            try:
                own.add_trial(one.trial)
            except ValueError as error:
                folder, number = one.trial.user_attrs[MERGED_FROM]
                raise InputError(unusable(Path(folder), f"trial {number} of {own.study_name!r}", error)) from error
    write_atomically(file, records.lines())
