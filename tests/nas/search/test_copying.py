"""The journal copied into another storage: whole, from wherever an earlier copy ended, beside other runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial

from nas.search.copying import RUN, Copying, count_trials, run_of
from nas.search.journal import Direction, Journal

pytestmark = pytest.mark.usefixtures("no_fsync")
DIRECTIONS: list[Direction] = ["maximize", "minimize"]
WRITES = [name for name in dir(BaseStorage) if name.startswith(("set_", "create_"))]


def never() -> bool:
    return False


def draw(trial: optuna.Trial) -> int:
    return trial.suggest_int("width", 1, 9) + len(str(trial.suggest_categorical("kind", ("a", "b"))))


def fill(file: Path, trials: int = 3) -> None:
    """A search and finalists, one of each unfinished."""
    journal = Journal(file, "t", DIRECTIONS)
    for number in range(trials):
        journal.ask(optuna.samplers.RandomSampler(seed=number), draw, lambda drawn: {"drawn": drawn})
        journal.note(number, "attempts", number)
        if number < trials - 1:
            values = None if number == 1 else [number, 2.0]
            journal.tell(number, values, notes={"row": {"number": number}}, constraints={"size": number - 1.0})
    finals = Journal(file, "t/final", ["maximize"])
    for seed in range(2):
        finals.enqueue({"seed": seed}, like=None)
    finals.tell(0, None, notes={}, pruned=True)


def parts(trial: FrozenTrial) -> dict[str, Any]:
    values = trial.values if trial.state.is_finished() else None
    names = ("number", "state", "params", "distributions", "user_attrs", "system_attrs", "intermediate_values")
    return {name: getattr(trial, name) for name in names} | {"values": values}


def held(storage: BaseStorage, name: str) -> list[dict[str, Any]]:
    return list(map(parts, optuna.load_study(storage=storage, study_name=name).trials))


def journal_of(file: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(file), lock_obj=JournalFileOpenLock(str(file))))


def check(storage: BaseStorage, file: Path, suffix: str = "") -> None:
    for name in ("t", "t/final"):
        base, _, phase = name.partition("/")
        there = f"{base}{suffix}/{phase}".rstrip("/")
        assert held(storage, there) == held(journal_of(file), name)
        study = optuna.load_study(storage=storage, study_name=there)
        assert study.user_attrs.pop(RUN) == run_of(file)
        assert study.directions == optuna.load_study(storage=journal_of(file), study_name=name).directions


class Dying:
    """A storage whose connection is lost at the write with this number, before or after it was done."""

    def __init__(self, storage: BaseStorage, writes: int, *, is_done: bool) -> None:
        self._storage, self._left, self._is_done = storage, writes, is_done

    def __getattr__(self, name: str) -> Any:
        act: Callable[..., Any] = getattr(self._storage, name)
        return self._counted(act) if name in WRITES else act

    def _counted(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def write(*given: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                if self._is_done:
                    act(*given, **named)
                raise ConnectionError
            return act(*given, **named)

        return write


def test_everything_is_there(tmp_path: Path) -> None:
    fill(tmp_path / "study.log")
    storage = InMemoryStorage()
    Copying(storage, tmp_path / "study.log").go_on(never)
    check(storage, tmp_path / "study.log")


def test_it_follows_a_journal_that_grows(tmp_path: Path) -> None:
    file, storage = tmp_path / "study.log", InMemoryStorage()
    fill(file)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0])
    copying = Copying(storage, file)
    for number, line in enumerate(lines):
        if number:
            with file.open("ab") as out:
                out.write(line)
        copying.go_on(never)
    check(storage, file)


@pytest.mark.parametrize("is_done", [True, False])
def test_wherever_the_connection_is_lost_the_next_one_goes_on(tmp_path: Path, is_done: bool) -> None:
    """Before and after every single write, in a journal that is there and in one that grows."""
    file = tmp_path / "study.log"
    fill(file)
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    for half in (len(lines), len(lines) // 2):
        for writes in range(1, 60):
            storage, died = InMemoryStorage(), False
            file.write_bytes(b"".join(lines[:half]))
            first = Copying(Dying(storage, writes, is_done=is_done), file)  # type: ignore[arg-type]
            try:
                first.go_on(never)
                file.write_bytes(whole)
                first.go_on(never)
            except ConnectionError:
                died = True
            file.write_bytes(whole)
            Copying(storage, file).go_on(never)
            check(storage, file)
            if not died:
                break
        assert 8 < writes < 59, "the loop has met every write"


def test_a_copy_that_is_whole_is_not_written_again(tmp_path: Path) -> None:
    file, storage = tmp_path / "study.log", InMemoryStorage()
    fill(file)
    Copying(storage, file).go_on(never)
    before = [trial._trial_id for trial in storage.get_all_trials(0)]
    again = Copying(Dying(storage, 5, is_done=False), file)  # type: ignore[arg-type]
    again.go_on(never)  # the two studies' own attributes are all
    assert [trial._trial_id for trial in storage.get_all_trials(0)] == before


def test_it_stops_when_asked_and_goes_on(tmp_path: Path) -> None:
    file, storage = tmp_path / "study.log", InMemoryStorage()
    fill(file)
    copying = Copying(storage, file)
    answers = iter([False, True])
    copying.go_on(lambda: next(answers))
    assert [len(study.trials) for study in map_studies(storage)] == [1, 0]
    Journal(file, "t/final", ["maximize"]).enqueue({"seed": 7})
    copying.go_on(never)
    check(storage, file)


def map_studies(storage: BaseStorage) -> list[optuna.Study]:
    return [optuna.load_study(storage=storage, study_name=study.study_name) for study in storage.get_all_studies()]


def test_another_run_of_the_name_keeps_it(tmp_path: Path) -> None:
    storage = InMemoryStorage()
    files = [tmp_path / "study.log", tmp_path / "other.log"]
    for file in files:
        fill(file)
        Copying(storage, file).go_on(never)
    Copying(storage, files[1]).go_on(never)  # finds its own again
    check(storage, files[0])
    check(storage, files[1], suffix=f"-{run_of(files[1])[:6]}")
    assert len(storage.get_all_studies()) == 4
    assert run_of(files[0]) != run_of(files[1])


def test_a_study_that_is_nobodys_is_left_alone_unless_it_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "study.log"
    fill(file)
    for trials, suffix in ((0, ""), (1, f"-{run_of(file)[:6]}")):
        storage = InMemoryStorage()
        study = optuna.create_study(storage=storage, study_name="t", directions=DIRECTIONS)
        for _ in range(trials):
            study.add_trial(optuna.trial.create_trial(values=[1.0, 2.0]))
        Copying(storage, file).go_on(never)
        check(storage, file, suffix)


@pytest.mark.parametrize("trials", [*range(18), 31, 32, 33])
def test_trials_are_counted_without_loading_them(trials: int) -> None:
    storage = InMemoryStorage()
    study_id = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "t")
    for _ in range(trials):
        storage.create_new_trial(study_id)
    assert count_trials(storage, study_id) == trials


def test_finished_trials_are_not_kept_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "study.log"
    fill(file, trials=12)
    copying = Copying(InMemoryStorage(), file)
    copying.go_on(never)
    assert sorted(trial.number for trial in copying._replay.trials.values()) == [1, 11]
