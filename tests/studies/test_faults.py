"""The faults that are done to runs, without the runs: what is counted, and what is torn or filled."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from by_hand import drive, finish, make_study, task_of

from nas.records import State
from nas.run_folder.paths import RunFolder
from nas.search.journal_file import repair
from nas.search.search import Search
from nas.search.upkeep import Upkeep

FAULTS = Path(__file__).parents[2] / "studies" / "benchmarks" / "faults"
Module = Callable[[str], ModuleType]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Module:
    """Imports one by name, with its neighbours."""
    monkeypatch.syspath_prepend(str(FAULTS))
    for name in {path.stem for path in FAULTS.glob("*.py")} & set(sys.modules):
        monkeypatch.delitem(sys.modules, name)
    return import_module


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


STUDY = make_study(trials=5, sampler="random")


def test_the_journal_is_read_by_other_means_as_the_driver_reads_it(module: Module, folder: RunFolder) -> None:
    ledger = module("ledger")
    search = Search(STUDY, folder)
    drive(search)
    begun = task_of(Search(make_study(trials=9, sampler="random"), folder))
    found = ledger.trials(folder.path)
    journal = Search(STUDY, folder).journal.trials()
    assert len(found) == len(journal) == begun.number + 1
    assert [trial.row and trial.row["number"] for trial in found] == [*range(begun.number), None]
    assert [trial.ends for trial in found] == [1] * begun.number + [0]
    assert {trial.study for trial in found} == {"t"}
    assert [trial.attributes["id"] for trial in ledger.unfinished(folder.path)] == [begun.candidate.id]


def test_what_is_wrong_with_a_run_is_found(module: Module, folder: RunFolder) -> None:
    ledger = module("ledger")
    search = Search(STUDY, folder)
    drive(search)
    Upkeep(search)()
    (folder.path / "report.html").touch()
    folder.front.write_text("trial\n0\n")
    assert ledger.mistakes(folder.path, goal=5) == []
    assert ledger.mistakes(folder.path, goal=6) == ["5 of 6 trials complete"]
    told = next(line for line in folder.journal.read_text().splitlines() if json.loads(line)["op_code"] == 6)
    with folder.journal.open("a") as journal:
        journal.write(f"{told}\n")
    (search.folder.path / search.rows()[0].artifact / "checkpoint.pt").touch()
    (folder.path / ".x.1.tmp").touch()
    assert ledger.mistakes(folder.path, goal=5) == [
        "1 trials told twice",
        "a file that was not finished",
        "a checkpoint of something finished",
    ]


def test_what_was_lost_or_done_again_is_counted(module: Module, folder: RunFolder) -> None:
    runs, outcome = module("one_run"), module("outcome").Outcome()
    search = Search(STUDY, folder)
    tasks = [task_of(search) for _ in range(3)]
    for task in tasks:
        finish(search, task, State.COMPLETE)
    before = runs.finished(folder.path)
    assert set(before) == {folder.relative(task.folder) for task in tasks}
    assert runs.compare(outcome, before, folder.path) == before
    assert (outcome.lost, outcome.repeated, outcome.is_good) == (0, 0, True)
    (tasks[0].folder / "evaluation.json").unlink()
    again = tasks[1].folder / "evaluation.json"
    content = again.read_bytes()
    (tasks[1].folder / "other").write_bytes(content)
    (tasks[1].folder / "other").replace(again)  # the same content, written again
    runs.compare(outcome, before, folder.path)
    assert (outcome.lost, outcome.repeated, outcome.is_good) == (1, 1, False)


@pytest.mark.parametrize("tear", range(3))
@pytest.mark.parametrize("seed", range(3))
def test_every_tear_is_one_that_the_package_repairs(module: Module, folder: RunFolder, tear: int, seed: int) -> None:
    torn_journal = module("torn_journal")
    drive(Search(STUDY, folder))
    before = folder.journal.read_bytes()
    torn_journal.TEARS[tear](folder.journal, random.Random(seed))
    after = folder.journal.read_bytes()
    assert after != before
    assert repair(folder.journal) > 0
    whole = before.splitlines(keepends=True)
    is_cut = torn_journal.TEARS[tear] is torn_journal.cut
    assert folder.journal.read_bytes() == b"".join(whole[:-1] if is_cut else whole)


def test_a_filled_disk_has_no_byte_left(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, left = module("disk"), [3 * 2**20 + 5000]

    class Small:
        """A file on a disk with so many bytes left, which takes all of a write or nothing."""

        def __enter__(self) -> Small:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, data: bytes) -> None:
            if len(data) > left[0]:
                raise OSError(errno.ENOSPC, "full")
            left[0] -= len(data)

    monkeypatch.setattr(Path, "open", lambda *_, **__: Small())
    assert disk.fill(tmp_path) == tmp_path / "ballast"
    assert left == [0]


def test_processes_are_known_by_their_mark(module: Module, tmp_path: Path) -> None:
    runs, table = module("one_run"), module("process_table")
    run, other = (runs.Run(tmp_path / name, runs.quick()) for name in "ab")
    code = "import subprocess, sys; subprocess.run(['sleep', '60'])"
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, runs.MARK: run.mark})
    try:
        assert table.wait_for(lambda: len(run.processes()) == 2, 20)
        assert parent.pid in run.processes()
        assert set(run.processes()) <= set(table.descendants())
        assert table.descendants(parent.pid) == [pid for pid in run.processes() if pid != parent.pid]
        table.kill(parent)
        assert table.descendants(parent.pid) == []
        assert len(run.processes()) == 1  # the child of what was killed
        assert other.processes() == []
        assert run.orphans(0.0) == 1
        assert table.wait_for(lambda: run.processes() == [], 5)
    finally:
        parent.kill()


def test_epochs_and_attempts(module: Module, folder: RunFolder, tmp_path: Path) -> None:
    ledger = module("ledger")
    log = tmp_path / "epochs.log"
    assert ledger.epochs_again(log) == 0
    log.write_text("search 0 a 0 1\nsearch 0 a 0 2\nsearch 0 a 0 2\nsearch 1 b 0 2\nsearch 0 a 0 2\n")
    assert ledger.epochs_again(log) == 2
    search = Search(STUDY, folder)
    finish(search, task_of(search), attempts=3)
    assert list(ledger.attempts(folder.path).values()) == [3]


def test_tables_are_compared_without_what_is_timed(module: Module, folder: RunFolder) -> None:
    ledger = module("ledger")
    rows = [{"trial": "1", "accuracy": "0.5", "latency_ms": "0.25", "latency_ms@b": "1"}]
    with folder.front.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert ledger.what_was_found(folder.path) == [{"trial": "1", "accuracy": "0.5"}]
    assert ledger.what_was_found(folder.path, "finalists.csv") == []


def test_runs_go_on_until_there_were_enough_faults_and_not_for_ever(module: Module, tmp_path: Path) -> None:
    outcome = module("outcome")
    ground, found = outcome.Ground(tmp_path, times=3), outcome.Outcome()
    for number in ground.runs(found):
        found.times += number % 2
    assert (number, found.times, found.problems) == (5, 3, [])
    rare = outcome.Outcome(times=2)
    assert len(list(ground.runs(rare))) == 3 * outcome.MOST_RUNS
    assert rare.problems == ["2 of 3 faults could be done"]


def test_rows_of_the_table(module: Module) -> None:
    outcome = module("outcome")
    good = outcome.Outcome(times=3, recovery_s=[1.0, 9.0, 2.0], continued=2, epochs_again=1)
    assert outcome.cells("a fault", good) == ["a fault", "3", "0", "0", "0", "2.0 (9.0)", "2", "1", "good"]
    assert good.to_json()["recovery_s"] == [1.0, 9.0, 2.0]
    skipped = outcome.cells("another", outcome.Outcome(skipped="skipped: no root"))
    assert skipped == ["another", *["-"] * 7, "skipped: no root"]
    bad = outcome.Outcome()
    bad.expect(True, "never said")
    bad.expect(False, "wrong")
    assert (bad.is_good, outcome.cells("x", bad)[-1]) == (False, "wrong")


def test_a_fault_that_does_not_exist_is_refused_with_those_that_do(
    module: Module, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    survive: Any = module("survive")
    monkeypatch.setattr(sys, "argv", ["survive.py", "driver", "flood"])
    with pytest.raises(SystemExit) as ended:
        survive.main()
    assert ended.value.code == 2
    assert f"expected {', '.join(survive.FAULTS)}, got flood" in capsys.readouterr().err


def test_what_is_missing_is_said_and_the_rest_is_tried(
    module: Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    survive, outcome = module("survive"), module("outcome")
    tried: list[Any] = []

    def strike(ground: Any) -> Any:
        tried.append(ground)
        return outcome.Outcome(times=ground.times)

    rows = {
        "one": outcome.Fault("first", strike, times=4),
        "two": outcome.Fault("second", strike, needs=lambda: "no second machine"),
    }
    monkeypatch.setattr(survive, "FAULTS", rows)
    monkeypatch.setattr(sys, "argv", ["survive.py", "--json", str(tmp_path / "x.json"), "--seed", "7"])
    assert survive.main() == 0
    assert [(ground.times, ground.seed, ground.scratch.name) for ground in tried] == [(4, 7, "one")]
    written = json.loads((tmp_path / "x.json").read_text())
    assert (written["one"]["fault"], written["one"]["times"]) == ("first", 4)
    assert written["two"]["skipped"] == "skipped: no second machine"
    assert "no second machine" in " ".join(capsys.readouterr().out.split())
