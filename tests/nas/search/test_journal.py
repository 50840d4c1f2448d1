"""The journal: one record per ask, the same when it is opened again, readable by stock Optuna."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from journals import DIRECTIONS, ask, fill, same, tell
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nas.search.journal import Journal


def records(file: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_one_record_per_ask(tmp_path: Path) -> None:
    file = tmp_path / "study.log"
    journal = Journal(file, "study", DIRECTIONS)
    for _ in range(5):
        before = len(records(file))
        ask(journal)
        assert len(records(file)) == before + 1


def test_nsga_writes_one_more_record_per_generation(tmp_path: Path) -> None:
    file = tmp_path / "study.log"
    journal = Journal(file, "study", DIRECTIONS)
    written = []
    for _ in range(12):
        before = len(records(file))
        tell_after = ask(journal, "nsga2")
        written.append(len(records(file)) - before)
        tell(journal, tell_after)
    assert written.count(1) >= 9
    assert max(written) == 2


def test_reopened_journal_holds_the_same(tmp_path: Path) -> None:
    first = fill(tmp_path / "study.log")
    first.note(3, "attempts", 2)
    second = Journal(tmp_path / "study.log", "study", DIRECTIONS)
    assert len(second.trials()) == 4
    assert all(map(same, first.trials(), second.trials()))
    tell(second, 3)
    assert second.trials()[3].state is TrialState.COMPLETE
    assert second.trials()[3].user_attrs["attempts"] == 2


def test_two_studies_in_one_file(tmp_path: Path) -> None:
    first = fill(tmp_path / "study.log")
    final = Journal(tmp_path / "study.log", "study/final", ["maximize"])
    assert [final.enqueue({"seed": i}) for i in range(3)] == [0, 1, 2]
    final.tell(1, [0.5], notes={"row": {}})
    tell(first, 3)
    again = Journal(tmp_path / "study.log", "study/final", ["maximize"])
    assert [trial.state for trial in again.trials()] == [TrialState.RUNNING, TrialState.COMPLETE, TrialState.RUNNING]
    assert [trial.user_attrs["seed"] for trial in again.trials()] == [0, 1, 2]


def test_stock_optuna_opens_the_file(tmp_path: Path) -> None:
    journal = fill(tmp_path / "study.log", 6)
    journal.tell(5, None, notes={"row": {}})
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    study = optuna.load_study(storage=storage, study_name="study")
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5 + [TrialState.FAIL]
    assert all(map(same, journal.trials(), study.trials))
    assert study.trials[4].values == [0.4, 104.0]
    assert study.trials[4].constraints == {"size_bytes": 2.0}
    assert {trial.number for trial in study.best_trials} == {0, 1, 2}  # 3 and 4 break the constraint
