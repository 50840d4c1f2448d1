"""The journal: one record per ask, torn and stale files mended, one holder, readable by stock Optuna."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from nas.errors import InputError
from nas.files import sole_holder
from nas.samplers.named import make_sampler, seed_of
from nas.search.journal import Direction, Journal, repair

DIRECTIONS: list[Direction] = ["maximize", "minimize"]


def draw(trial: optuna.Trial) -> dict[str, Any]:
    depth = trial.suggest_categorical("depth", (1, 2))
    return {f"gene{i}": trial.suggest_categorical(f"gene{i}", (3, 5, 7)) for i in range(depth)}


def ask(journal: Journal, sampler: str = "random") -> int:
    number = len(journal.trials())
    made = make_sampler(sampler, seed=seed_of(0, number), population=4)
    return journal.ask(made, draw, lambda genes: {"genes": genes})[0]


def tell(journal: Journal, number: int) -> None:
    journal.tell(number, [0.1 * number, 100.0 + number], {"size_bytes": number - 2.0}, {"row": {"number": number}})


def fill(file: Path, trials: int = 4) -> Journal:
    """All but the last trial are told."""
    journal = Journal(file, "study", DIRECTIONS)
    for _ in range(trials):
        number = ask(journal)
        if number < trials - 1:
            tell(journal, number)
    return journal


def records(file: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def same(first: FrozenTrial, second: FrozenTrial) -> bool:
    def parts(trial: FrozenTrial) -> tuple[Any, ...]:
        values = trial.values if trial.state is TrialState.COMPLETE else None
        return trial.number, trial.state, values, trial.params, trial.user_attrs, trial.constraints

    return parts(first) == parts(second)


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
    final.tell(1, [0.5], {}, {"row": {}})
    tell(first, 3)
    again = Journal(tmp_path / "study.log", "study/final", ["maximize"])
    assert [trial.state for trial in again.trials()] == [TrialState.RUNNING, TrialState.COMPLETE, TrialState.RUNNING]
    assert [trial.user_attrs["seed"] for trial in again.trials()] == [0, 1, 2]


def test_stock_optuna_opens_the_file(tmp_path: Path) -> None:
    journal = fill(tmp_path / "study.log", 6)
    journal.tell(5, None, {}, {"row": {}})
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    study = optuna.load_study(storage=storage, study_name="study")
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5 + [TrialState.FAIL]
    assert all(map(same, journal.trials(), study.trials))
    assert study.trials[4].values == [0.4, 104.0]
    assert study.trials[4].constraints == {"size_bytes": 2.0}
    assert {trial.number for trial in study.best_trials} == {0, 1, 2}  # 3 and 4 break the constraint


def test_torn_last_record_at_every_offset(tmp_path: Path) -> None:
    file = tmp_path / "study.log"
    fill(file)
    whole = file.read_bytes()
    start = whole.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(start, len(whole)):
        file.write_bytes(whole[:end])
        assert repair(file) == end - start
        assert file.read_bytes() == whole[:start]
    journal = Journal(file, "study", DIRECTIONS)
    assert [trial.state for trial in journal.trials()] == [TrialState.COMPLETE] * 3
    number = ask(journal)
    tell(journal, number)
    assert number == 3
    assert all(map(same, Journal(file, "study", DIRECTIONS).trials(), journal.trials()))


def test_whole_file_and_missing_file_need_no_repair(tmp_path: Path) -> None:
    file = tmp_path / "study.log"
    assert repair(file) == 0
    assert not file.exists()
    fill(file)
    whole = file.read_bytes()
    assert repair(file) == 0
    assert file.read_bytes() == whole


@pytest.mark.parametrize("kind", ["symlink", "file"])
def test_lock_of_a_dead_writer_is_removed(tmp_path: Path, kind: str) -> None:
    file, lock = tmp_path / "study.log", tmp_path / "study.log.lock"
    fill(file)
    if kind == "symlink":
        lock.symlink_to(tmp_path / "gone")
    else:
        lock.write_text("")
    repair(file)
    assert not lock.is_symlink()
    assert not lock.exists()
    ask(Journal(file, "study", DIRECTIONS))


def test_optunas_own_lock_has_the_name_that_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    original = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append({entry.name for entry in tmp_path.iterdir()})
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    fill(tmp_path / "study.log", 1)
    assert {"study.log", "study.log.lock"} in seen


HOLDER = """
import sys, time
from pathlib import Path
from nas.files import sole_holder
with sole_holder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_holder_at_a_time_and_free_after_kill(tmp_path: Path) -> None:
    lock = tmp_path / "study.lock"
    command = [sys.executable, "-P", "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with pytest.raises(InputError, match=rf"another `nas run` \(process {other.pid}\) works in this folder"):
                with sole_holder(lock):
                    pytest.fail("two holders")
        finally:
            other.send_signal(signal.SIGKILL)
        other.wait()
    with sole_holder(lock):
        assert lock.read_text() == f"{os.getpid()}\n"
    with sole_holder(lock):
        pass
