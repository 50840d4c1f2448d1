"""The journal of a merged run, written at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from nas.errors import InputError
from nas.files import write_atomically
from nas.objectives import directions_of
from nas.search.journal import Direction, unusable
from nas.search.merging import MERGED_FROM, PHASES, Merged
from nas.study import Study


class Collected(BaseJournalBackend):
    """Records in memory: each file's record would be synced on its own."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        yield from self.records[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.records += json.loads(json.dumps(logs))


def write_journal(file: Path, study: Study, merged: Merged) -> None:
    """One Optuna study for each phase that holds something, with its trials in order of number."""
    backend = Collected()
    storage = JournalStorage(backend)
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
    lines = [json.dumps(record, separators=(",", ":")) + "\n" for record in backend.records]
    write_atomically(file, "".join(lines))
