"""The journal: one record per ask, damaged files repaired or named, readable by stock Optuna."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from nas.errors import InputError
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
    values, constraints = [0.1 * number, 100.0 + number], {"size_bytes": number - 2.0}
    journal.tell(number, values, constraints=constraints, notes={"row": {"number": number}})


def fill(file: Path, trials: int = 4) -> Journal:
    """All but the last trial are told."""
    journal = Journal(file, "study", DIRECTIONS)
    for _ in range(trials):
        number = ask(journal)
        if number < trials - 1:
            tell(journal, number)
    return journal


def sound_journal() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "study.log")
        return (Path(folder) / "study.log").read_bytes()


SOUND = sound_journal()


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


def test_stock_optunas_lock_has_the_name_that_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    original = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append({entry.name for entry in tmp_path.iterdir()})
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    optuna.create_study(storage=storage, study_name="study")
    assert {"study.log", "study.log.lock"} in seen


def test_a_file_system_without_symbolic_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "symlink", refuse)
    monkeypatch.setattr(os, "link", refuse)
    journal = fill(tmp_path / "study.log")
    assert len(journal.trials()) == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.log"]


def damaged(file: Path, at: int, line: bytes, *, replaces: bool) -> None:
    """Put `line` before the record `at`, or in its place."""
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:at], line, *lines[at + replaces :]]))


@pytest.mark.parametrize("end", [b"\0" * 700, b"\0" * 40 + b"\n", b"\n", b" \n\n", b"garbage\n", b'{"op_code": 4}\n'])
@pytest.mark.parametrize("begun", [b"", b'{"op_code": 4, "wor'])
def test_a_damaged_end_is_cut_off(tmp_path: Path, begun: bytes, end: bytes) -> None:
    """What a power loss leaves: the file has grown, and what was written last never reached the disk."""
    file = tmp_path / "study.log"
    journal = fill(file)
    whole = file.read_bytes()
    file.write_bytes(whole + begun + end)
    assert repair(file) == (len(begun + end) if (begun + end).strip() else 0)
    assert file.read_bytes() == whole
    again = Journal(file, "study", DIRECTIONS)
    assert all(map(same, again.trials(), journal.trials()))
    assert ask(again) == 4


def test_blank_lines_are_dropped_wherever_they_are(tmp_path: Path) -> None:
    file = tmp_path / "study.log"
    journal = fill(file)
    whole = file.read_bytes()
    for at in range(len(whole.splitlines()) + 1):
        damaged(file, at, b"\n \n", replaces=False)
        assert repair(file) == 0
        assert file.read_bytes() == whole
    assert all(map(same, Journal(file, "study", DIRECTIONS).trials(), journal.trials()))


@pytest.mark.parametrize("line", [b"\0" * 30 + b"\n", b"garbage\n", b"\xff\xfe\n", b"{}\n", b"[" * 3000 + b"\n"])
@pytest.mark.parametrize("replaces", [True, False])
def test_a_damaged_line_before_whole_ones_is_named(tmp_path: Path, line: bytes, *, replaces: bool) -> None:
    file = tmp_path / "study.log"
    fill(file)
    damaged(file, 2, line, replaces=replaces)
    before = file.read_bytes()
    with pytest.raises(InputError, match=r"study\.log, line 3: expected a record of the journal, got "):
        repair(file)
    assert file.read_bytes() == before, "nothing is lost that somebody might mend by hand"


@pytest.mark.parametrize(
    "record",
    [{"op_code": 99}, {"op_code": 4}, {"op_code": 4, "study_id": 0, "state": "x"}, {"op_code": 0, "study_name": "y"}],
)
def test_a_record_that_cannot_be_replayed_is_named(tmp_path: Path, record: dict[str, Any]) -> None:
    file = tmp_path / "study.log"
    fill(file)
    damaged(file, 1, json.dumps({"worker_id": "w", **record}).encode() + b"\n", replaces=False)
    repair(file)
    with pytest.raises(InputError, match=r"study\.log, line 2: expected a record of the journal, got one that cannot"):
        Journal(file, "study", DIRECTIONS)


def test_records_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    """One key of a whole line is damaged: it can be replayed, and no trial comes of it."""
    file = tmp_path / "study.log"
    fill(file)
    file.write_bytes(file.read_bytes().replace(b'"params"', b'"parame"', 2).replace(b'"parame"', b'"params"', 1))
    with pytest.raises(InputError, match=r"study\.log: trial 1 of 'study' cannot be used \(Inconsistent parameters"):
        Journal(file, "study", DIRECTIONS)


@given(st.data())
def test_whatever_is_damaged_is_repaired_or_named(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A run of bytes is overwritten, removed or put in: the journal opens or one error names the file, never else."""
    file = tmp_path_factory.getbasetemp() / "damaged.log"
    file.write_bytes(SOUND)
    start = data.draw(st.integers(0, len(SOUND)))
    end = min(len(SOUND), start + data.draw(st.integers(0, 600)))
    file.write_bytes(
        SOUND[:start] + data.draw(st.sampled_from((b"", b"\0" * (end - start), b"\n", b"x"))) + SOUND[end:]
    )
    try:
        repair(file)
        Journal(file, "study", DIRECTIONS)
    except InputError as error:
        assert re.match(r".*damaged\.log(, line|: trial) \d+", str(error))  # noqa: PT017
