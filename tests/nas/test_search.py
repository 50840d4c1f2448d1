"""The driver, with evaluations made by hand: what counts, what is repeated, when it ends, and that a restart changes
nothing. No training here."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from rich.console import Console

import nas.drawing
import nas.launch
import nas.local_loop
import nas.search
from nas.candidate import Candidate, sample
from nas.data import DataSet, Images, load
from nas.errors import InputError
from nas.executors.local import Broke, Died, Finished, TookTooLong
from nas.finalists import Finalists, finalists_of, slow_starter
from nas.front import front_of
from nas.latency import PROTOCOL
from nas.local_loop import Stop
from nas.objectives import as_minimised
from nas.pareto import non_dominated
from nas.phases import WAIT, Done
from nas.records import Evaluation, Latency, LayerReport, Measurement, Score, State, score
from nas.run_folder import RunFolder, read_evaluation, write_evaluation
from nas.runtimes.onnx_runtime import fingerprint
from nas.search import Search, default_population
from nas.storage import repair
from nas.study import Compression, Study, Target
from nas.study.file import dump_study, load_study
from nas.tasks import Task
from nas.trial_rows import (
    STRUCTURE,
    all_genes,
    append_row,
    count_rows,
    front_columns,
    gene_choices,
    row_of,
    structure_of,
    trial_columns,
    write_rows,
)
from search_spaces.spaces import MobileSpace, Pick, Replay

SPACE = {
    "input_size": 8, "stem_widths": (8,), "head_widths": (8, 16), "kernels": (3,), "expansions": (1, 2),
    "squeeze_excite": (False,), "activations": ("relu",), "stages": ({"depths": (1, 2), "widths": (8, 16)},),
}  # fmt: skip
COMPRESSION = {"weight_format": ("fp32", "int8"), "granularity": "stage"}


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deaths are simulated between writes here, never within the kernel; syncing would only take time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def make_study(
    *, constraints: dict[str, float] | None = None, training: dict[str, Any] | None = None, **search: Any
) -> Study:
    return Study.model_validate(
        {
            "name": "t",
            "data": {"source": "digits"},
            "space": SPACE,
            "compression": COMPRESSION,
            "objectives": ("accuracy", "parameters", "size_bytes"),
            "constraints": {name: {"max": float(limit)} for name, limit in (constraints or {}).items()},
            "search": {"population": 4, **search},
            "training": {"epochs": 8, **(training or {})},
        }
    )


def measured(candidate: Candidate) -> Measurement:
    latency = Latency(
        latency_ms=candidate.macs(10) * 1e-6 + 0.01,
        stable=True,
        protocol=PROTOCOL,
        reference_ms=1.0,
        fingerprint=fingerprint(Target(name="cpu")),
        passes_us=((10.0,),),
    )
    return Measurement(
        origin="shipped file",
        parameters=candidate.parameters(10),
        macs=candidate.macs(10),
        size_bytes=candidate.weight_bytes(10),
        peak_memory_bytes=1000 + len(candidate.layers(10)),
        latency={"cpu": latency},
    )


def evaluated(task: Task, study: Study, state: State | None = None, **fields: Any) -> Evaluation:
    """An evaluation in closed form: INFEASIBLE where costs break a constraint, else COMPLETE, unless told."""
    measurement = measured(task.candidate)
    costs = measurement.costs("cpu")
    excess = {name: costs[name] / limit.max - 1 for name, limit in study.constraints.items()}
    violations = {name: value for name, value in excess.items() if value > 0}
    state = state or (State.INFEASIBLE if violations else State.COMPLETE)
    known: dict[str, Any] = {
        "candidate_id": task.candidate.id, "structure_id": task.candidate.structure_id(10), "phase": task.phase,
        "seed": task.seed, "state": state, "budget": study.training.epochs, "target": "cpu", "started_at": "2030",
        "seconds": {"train": 0.25, "emit": 0.5}, "training": task.training,
    }  # fmt: skip
    if state is State.INFEASIBLE:
        known |= {"measurement": measurement, "violations": violations}
    if state is State.COMPLETE:
        known |= {"measurement": measurement, "epochs": task.epochs}
        known["validation"] = score(int(task.candidate.id, 16) % 90 + 10, 100)
    return Evaluation.model_validate({**known, **fields})


def finish(phases: Search | Finalists, task: Task, state: State | None = None, **fields: Any) -> dict[str, Any]:
    """What a worker and the loop do: write evaluation.json, tell."""
    write_evaluation(task.folder, evaluated(task, phases.study, state, **fields))
    read = read_evaluation(task.folder)
    assert read is not None
    return phases.finish(task, read)


def drive(phases: Search | Finalists) -> Done:
    """To the end with one worker."""
    while isinstance(answer := phases.propose(), Task):
        finish(phases, answer)
    assert isinstance(answer, Done)
    return answer


def task_of(phases: Search | Finalists) -> Task:
    task = phases.propose()
    assert isinstance(task, Task)
    return task


def different(count: int) -> list[Candidate]:
    """Candidates of another, larger space, for tests that script what is drawn."""
    space = MobileSpace.model_validate({"preset": "8px"})
    pick = Pick(random.Random(0).choice)
    found: dict[str, Candidate] = {}
    while len(found) < count:
        candidate = sample(pick, space, Compression(), input_channels=1)
        found[candidate.id] = candidate
    return list(found.values())


Script = Callable[[Iterable[Candidate]], None]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Have the search draw these candidates, in order."""

    def use(candidates: Iterable[Candidate]) -> None:
        queue = iter(candidates)
        monkeypatch.setattr(nas.drawing, "sample", lambda *_, **__: next(queue))

    return use


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture(autouse=True)
def _made(folder: RunFolder) -> None:
    folder.path.mkdir()


def states(search: Search) -> list[str]:
    return [row["state"] for row in search.rows()]


# What counts


def test_trials_counts_complete_ones_alone(folder: RunFolder, script: Script) -> None:
    drawn = different(6)
    script([*drawn[:3], drawn[0], *drawn[3:]])
    search = Search(make_study(trials=3), folder)
    for state in (State.COMPLETE, State.INFEASIBLE, State.FAILED, State.COMPLETE, State.COMPLETE):
        finish(search, task_of(search), state)
    assert search.propose() == Done()
    assert states(search) == ["COMPLETE", "INFEASIBLE", "FAILED", "DUPLICATE", "COMPLETE", "COMPLETE"]


def test_no_more_tasks_are_started_than_trials_are_wanted(folder: RunFolder, script: Script) -> None:
    script(different(4))
    search = Search(make_study(trials=2), folder)
    first, second = task_of(search), task_of(search)
    assert search.propose() is WAIT
    finish(search, first, State.FAILED)
    third = task_of(search)
    finish(search, second)
    assert search.propose() is WAIT
    finish(search, third)
    assert search.propose() == Done()


def test_tasks_carry_what_the_study_says(folder: RunFolder) -> None:
    search = Search(make_study(trials=2, seed=7, epochs=3), folder)
    task = task_of(search)
    assert (task.number, task.phase, task.seed, task.epochs, task.attempt) == (0, "search", 7, 3, 1)
    assert task.folder == folder.path / "artifacts" / task.candidate.id / "search-7"
    assert Task.from_line(task.to_line()) == task


def test_infeasible_is_told_with_its_costs_and_positive_constraint_values(folder: RunFolder, script: Script) -> None:
    drawn = different(2)
    script(drawn)
    costs = measured(drawn[0]).costs("cpu")
    study = make_study(trials=1, constraints={"parameters": costs["parameters"] / 2, "size_bytes": 1e9})
    search = Search(study, folder)
    row = finish(search, task_of(search))
    trial = search.journal.trials()[0]
    assert trial.state is TrialState.COMPLETE
    assert trial.values == [0.0, costs["parameters"], costs["size_bytes"]]
    assert trial.constraints == {"parameters": 1.0, "size_bytes": pytest.approx(costs["size_bytes"] / 1e9 - 1)}
    assert (row["state"], row["accuracy"], row["violation"]) == ("INFEASIBLE", None, {"parameters": 1.0})
    assert row["reason"] == "parameters 100.0% above its limit"
    assert search.count(State.COMPLETE) == 0
    assert finalists_of(search.rows(), study) == front_of(search.rows(), study) == []


def test_time_is_up(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(make_study(trials=5, hours=1.0), folder)
    now = nas.search.time.monotonic()
    first = task_of(search)
    monkeypatch.setattr(nas.search.time, "monotonic", lambda: now + 3599)
    second = task_of(search)
    monkeypatch.setattr(nas.search.time, "monotonic", lambda: now + 3601)
    assert search.propose() is WAIT
    finish(search, first)
    finish(search, second)
    assert search.propose() == Done()


def test_time_is_up_for_what_was_queued_too(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    task_of(Search(make_study(trials=5), folder))
    search = Search(make_study(trials=5, hours=1.0), folder)
    now = nas.search.time.monotonic()
    monkeypatch.setattr(nas.search.time, "monotonic", lambda: now + 3601)
    assert search.propose() == Done()
    assert task_of(Search(make_study(trials=5), folder)).number == 0  # it is not lost


# Duplicates


def test_duplicate_gets_the_values_of_the_first(folder: RunFolder, script: Script) -> None:
    a, b = different(2)
    script([a, a, a, b])
    search = Search(make_study(trials=2), folder)
    row = finish(search, task_of(search))
    task = task_of(search)
    assert (task.number, task.candidate) == (3, b)
    first, *repeats = search.journal.trials()[:3]
    for trial in repeats:
        assert trial.user_attrs["duplicate_of"] == 0
        assert (trial.state, trial.values) == (TrialState.COMPLETE, first.values)
        told = search.rows()[trial.number]
        assert (told["state"], told["reason"]) == ("DUPLICATE", "same candidate as trial 0")
        own = {"number": trial.number, "state": "DUPLICATE", "reason": told["reason"], "seconds": None}
        assert told == row | own


@pytest.mark.parametrize("state", [State.COMPLETE, State.INFEASIBLE, State.FAILED])
def test_duplicate_of_a_running_trial_is_told_with_it(folder: RunFolder, script: Script, state: State) -> None:
    a, b = different(2)
    script([a, a, b])
    search = Search(make_study(trials=2, constraints={"parameters": 1e3}), folder)
    first, second = task_of(search), task_of(search)
    assert (first.number, second.number) == (0, 2)
    assert search.journal.trials()[1].state is TrialState.RUNNING
    finish(search, first, state)
    original, repeat = search.journal.trials()[:2]
    assert repeat.state is original.state
    assert repeat.constraints == original.constraints
    assert states(search) == [state, "DUPLICATE"]
    if original.state is TrialState.COMPLETE:
        assert repeat.values == original.values


def test_a_sampler_that_repeats_itself_is_given_a_new_one_at_random(folder: RunFolder, script: Script) -> None:
    a, b = different(2)
    script([a] * 14 + [b] * 2)  # trial 0, ten repeats, three random draws, then one that is new, and its trial
    search = Search(make_study(trials=2, sampler="nsga2"), folder)
    first = task_of(search)
    second = task_of(search)
    assert [(task.number, task.candidate) for task in (first, second)] == [(0, a), (11, b)]
    finish(search, first)
    finish(search, second)
    assert states(search) == ["COMPLETE"] + ["DUPLICATE"] * 10 + ["COMPLETE"]


def test_a_space_without_anything_new_is_exhausted(
    folder: RunFolder, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.drawing, "MOST_DRAWS", 30)
    (a,) = different(1)
    script(repeat(a))
    search = Search(make_study(trials=5, sampler="nsga2"), folder)
    task = task_of(search)
    assert search.propose() is WAIT  # what is running must end first
    finish(search, task)
    answer = search.propose()
    assert isinstance(answer, Done)
    assert re.fullmatch(
        r"none of 30 random draws was new after 1 different candidates, of \d+ at most: the space is exhausted",
        answer.problem,
    )
    assert states(search) == ["COMPLETE"] + ["DUPLICATE"] * 10
    assert Search(search.study, folder).propose() == answer
    assert states(search) == ["COMPLETE"] + ["DUPLICATE"] * 10


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "nsga3"])
def test_small_space_is_searched_to_its_end(folder: RunFolder, sampler: str) -> None:
    """Every one of its networks, found here by asking all questions in all ways."""
    space = MobileSpace.model_validate({**SPACE, "stages": ({"depths": (1, 2), "widths": (8, 16)},)})
    study = make_study(trials=1000, sampler=sampler)
    study = study.model_copy(update={"space": space, "compression": Compression()})
    answers = product((1, 2), (8, 16), (1, 2), (1, 2), (8, 16))
    genes = ("stage1.depth", "stage1.width", "stage1.block1.expansion", "stage1.block2.expansion", "head.width")
    drawn = (Replay(dict(zip(genes, one, strict=True))) for one in answers)
    networks = {sample(trial, space, Compression(), input_channels=1).id for trial in drawn}
    search = Search(study, folder)
    problem = drive(search).problem
    assert "after 24 different candidates, of 24 at most: the space is exhausted" in problem
    assert {row["id"] for row in search.rows()} == networks
    assert search.count(State.COMPLETE) == len(networks) == 24


# Reasons to stop


@pytest.mark.parametrize(("infeasible", "stops"), [(94, False), (95, True), (100, True)])
def test_hopeless_constraint_is_named(
    folder: RunFolder, script: Script, monkeypatch: pytest.MonkeyPatch, infeasible: int, stops: bool
) -> None:
    monkeypatch.setattr(Search, "_repeats", lambda _: 0)
    script(different(102))
    study = make_study(trials=1000, sampler="random", constraints={"parameters": 5.0, "macs": 1e5})
    search = Search(study, folder)
    for i in range(100):
        broken = {"parameters": 0.5} | ({"macs": 0.1} if i % 2 else {})
        state = State.INFEASIBLE if i < infeasible else State.COMPLETE
        finish(search, task_of(search), state, violations=broken if i < infeasible else {})
    least = min(row["parameters"] for row in search.rows()[:infeasible])
    answer = search.propose()
    if not stops:
        assert isinstance(answer, Task)
        return
    assert answer == Done(
        f"{infeasible} of the last 100 candidates are infeasible; "
        f"constraints.parameters.max 5 is broken by {infeasible} of them, the least has {least:g}"
    )


def test_what_was_begun_is_done_before_a_hopeless_search_ends(folder: RunFolder, script: Script) -> None:
    script(different(101))
    study = make_study(trials=1000, sampler="random", constraints={"parameters": 5.0})
    search = Search(study, folder)
    begun = task_of(search)
    for _ in range(100):
        finish(search, task_of(search), State.INFEASIBLE, violations={"parameters": 0.5})
    assert search.propose() is WAIT
    again = Search(study, folder)
    assert task_of(again).number == begun.number
    assert again.propose() is WAIT
    finish(again, begun, State.COMPLETE)
    assert "infeasible" in drive(again).problem


@pytest.mark.parametrize(
    ("before", "failures", "stops"), [([], 9, False), ([], 10, True), ([State.COMPLETE], 10, True)]
)
def test_ten_failures_in_a_row(
    folder: RunFolder, script: Script, before: list[State], failures: int, stops: bool
) -> None:
    drawn = different(13)
    script([*drawn[:6], drawn[0], *drawn[6:]])  # a duplicate in between does not break the row
    search = Search(make_study(trials=100), folder)
    for i, state in enumerate([*before, *[State.FAILED] * failures]):
        finish(search, task_of(search), state, reason=f"no {i}")
    answer = search.propose()
    newest = len(before) + failures - 1
    assert isinstance(answer, Task) != stops
    if stops:
        assert answer == Done(f"the last 10 candidates all failed, the newest with: no {newest}")
        again = Search(make_study(trials=100), folder)
        assert isinstance(again.propose(), Task), "a new start tries again: the cause may be mended"


def test_what_is_running_ends_before_a_stop(folder: RunFolder, script: Script) -> None:
    script(different(12))
    search = Search(make_study(trials=100), folder)
    slow = task_of(search)
    for _ in range(10):
        finish(search, task_of(search), State.FAILED)
    assert search.propose() is WAIT
    finish(search, slow)
    answer = search.propose()
    assert isinstance(answer, Done)
    assert "all failed" in answer.problem


# Deaths


def test_third_death_fails_the_candidate(folder: RunFolder) -> None:
    search = Search(make_study(trials=3), folder)
    first = task = task_of(search)
    for attempt in (1, 2):
        assert task.attempt == attempt
        assert search.died(task, "killed by signal 9") is None
        task = task_of(search)
        assert (task.number, task.candidate) == (first.number, first.candidate)
    row = search.died(task, "killed by signal 9")
    assert row is not None
    assert (row["number"], row["state"], row["attempts"]) == (0, "FAILED", 3)
    assert row["reason"] == "killed by signal 9 (death 3)"
    assert search.journal.trials()[0].state is TrialState.FAIL
    assert task_of(search).number == 1
    recorded = read_evaluation(task.folder)
    assert recorded is not None
    assert recorded.state is State.FAILED


def test_deaths_are_remembered_over_a_restart(folder: RunFolder) -> None:
    study = make_study(trials=3)
    search = Search(study, folder)
    for _ in range(2):
        assert search.died(task_of(search), "") is None
    again = Search(study, folder)
    row = again.died(task_of(again), "gone")
    assert row is not None
    assert (row["number"], row["state"], row["reason"]) == (0, "FAILED", "gone (death 3)")


def test_a_worker_that_never_started_is_no_death(folder: RunFolder) -> None:
    search = Search(make_study(trials=3), folder)
    for attempt in range(1, 7):
        task = task_of(search)
        assert (task.number, task.attempt) == (0, attempt)
        assert search.died(task, "", started=False) is None
    assert search.journal.trials()[0].user_attrs["deaths"] == 0


def test_deaths_of_the_driver_are_no_deaths_of_the_candidate(folder: RunFolder) -> None:
    study = make_study(trials=3)
    for attempt in range(1, 7):
        task = task_of(Search(study, folder))
        assert (task.number, task.attempt) == (0, attempt)
    search = Search(study, folder)
    finish(search, task_of(search))
    assert states(search) == ["COMPLETE"]


def test_over_the_time_limit_is_failed_at_once(folder: RunFolder) -> None:
    search = Search(make_study(trials=3, trial_minutes=0.5), folder)
    task = task_of(search)
    task.folder.mkdir(parents=True)
    (task.folder / "checkpoint.pt").touch()
    row = search.took_too_long(task)
    assert (row["number"], row["state"], row["attempts"]) == (0, "FAILED", 1)
    assert row["reason"] == "took longer than search.trial_minutes 0.5"
    assert row["seconds"] is None  # nobody knows
    assert [file.name for file in task.folder.iterdir()] == ["evaluation.json"]
    assert task_of(search).number == 1
    assert states(Search(search.study, folder)) == ["FAILED"]


def test_finalists_may_take_as_much_longer_as_they_have_epochs(folder: RunFolder) -> None:
    study = make_study(trials=1, finalists=1, trial_minutes=0.5, epochs=2)  # of training.epochs 8
    assert [study.limit_minutes(epochs) for epochs in (2, 8)] == [0.5, 2.0]
    assert make_study().limit_minutes(8) is None
    search = Search(study, folder)
    finish(search, task_of(search))
    finalists = Finalists(study, folder)
    finalists.choose(search)
    assert finalists.unfinished
    row = finalists.took_too_long(task_of(finalists))
    assert row["reason"] == "took longer than search.trial_minutes 0.5 x 4"
    assert not finalists.unfinished


def test_a_result_of_the_last_moment_counts(folder: RunFolder) -> None:
    search = Search(make_study(trials=3, trial_minutes=0.5), folder)
    task = task_of(search)
    write_evaluation(task.folder, evaluated(task, search.study))
    assert search.took_too_long(task)["state"] == "COMPLETE"


def test_a_worker_that_dies_after_its_result_was_written_has_finished(folder: RunFolder) -> None:
    search = Search(make_study(trials=3), folder)
    task = task_of(search)
    write_evaluation(task.folder, evaluated(task, search.study))
    row = search.died(task, "killed by signal 9")
    assert row is not None
    assert row["state"] == "COMPLETE"
    assert task_of(search).number == 1


# Restarts


@dataclass
class Recorded:
    """An uninterrupted run: its journal line by line, and each evaluation with the lines that came before it."""

    lines: list[bytes]
    evaluations: list[tuple[int, Path, bytes]]
    candidates: list[str]
    rows: list[dict[str, Any]]

    def points(self) -> list[tuple[int, int]]:
        """Every (lines, evaluations) that a kill can leave behind, once the study is in the journal."""
        found = []
        for lines in range(1, len(self.lines) + 1):
            before = sum(at < lines for at, _, _ in self.evaluations)
            after = sum(at <= lines for at, _, _ in self.evaluations)
            found += [(lines, count) for count in range(before, after + 1)]
        return found

    def restore(self, folder: RunFolder, lines: int, evaluations: int) -> None:
        folder.path.mkdir()
        folder.journal.write_bytes(b"".join(self.lines[:lines]))
        for _, file, content in self.evaluations[:evaluations]:
            place = folder.path / file
            place.parent.mkdir(parents=True)
            place.write_bytes(content)


def summary(search: Search) -> tuple[list[str], list[dict[str, Any]]]:
    ids = [Candidate.from_json(trial.user_attrs["candidate"]).id for trial in search.journal.trials()]
    return ids, search.rows()


def record(study: Study, folder: RunFolder) -> Recorded:
    search = Search(study, folder)
    evaluations = []
    while isinstance(task := search.propose(), Task):
        before = folder.journal.read_bytes().count(b"\n")
        finish(search, task)
        file = task.folder / "evaluation.json"
        evaluations.append((before, file.relative_to(folder.path), file.read_bytes()))
    return Recorded(folder.journal.read_bytes().splitlines(keepends=True), evaluations, *summary(search))


def restart_study(sampler: str) -> Study:
    """With infeasible candidates and, in so small a space, duplicates."""
    return make_study(trials=9, sampler=sampler, constraints={"parameters": 900})


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "nsga3"])
def test_a_restart_at_any_point_changes_nothing(tmp_path: Path, sampler: str) -> None:
    straight = record(restart_study(sampler), RunFolder(tmp_path / "run"))
    assert {row["state"] for row in straight.rows} == {"COMPLETE", "INFEASIBLE", "DUPLICATE"}
    for lines, evaluations in straight.points():
        folder = RunFolder(tmp_path / f"{lines}-{evaluations}")
        straight.restore(folder, lines, evaluations)
        search, missing = Search(restart_study(sampler), folder), len(straight.evaluations) - evaluations
        for _ in range(missing):  # none is done twice
            finish(search, task_of(search))
        assert isinstance(search.propose(), Done)
        assert summary(search) == (straight.candidates, straight.rows), (lines, evaluations)


class Killed(BaseException):
    """Stands for kill -9."""


def test_killed_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every driver dies at its n-th write to the journal, whatever it writes, and leaves half a record."""
    study = restart_study("nsga2")
    straight = record(study, RunFolder(tmp_path / "run"))
    folder = RunFolder(tmp_path / "killed")
    folder.path.mkdir()
    original = JournalFileBackend.append_logs
    patience: Iterator[int] = iter(())

    def append(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        if next(patience, None) is None:
            with folder.journal.open("ab") as file:
                file.write(b'{"op_code": 4, "worker_id": "7')
            raise Killed
        original(self, logs)

    monkeypatch.setattr(JournalFileBackend, "append_logs", append)
    for life in range(200):
        patience = iter(range(5 + life % 7))
        repair(folder.journal)
        try:
            search = Search(study, folder)
            drive(search)
            break
        except Killed:
            continue
    else:
        pytest.fail("no progress")
    assert life > 5
    assert summary(search) == (straight.candidates, straight.rows)


def test_more_trials_later_are_the_trials_of_a_longer_search(tmp_path: Path) -> None:
    long, short = RunFolder(tmp_path / "long"), RunFolder(tmp_path / "short")
    for place in (long, short):
        place.path.mkdir()
    whole = Search(make_study(trials=9), long)
    drive(whole)
    drive(Search(make_study(trials=5), short))
    continued = Search(make_study(trials=9), short)
    drive(continued)
    assert summary(continued) == summary(whole)


# Finalists and front


def row(number: int, accuracy: float, parameters: int, size: int, **fields: Any) -> dict[str, Any]:
    known = {"number": number, "state": "COMPLETE", "flags": [], "id": f"{number:012}"}
    return {**known, "accuracy": accuracy, "parameters": parameters, "size_bytes": size, **fields}


values = st.tuples(st.integers(0, 6).map(lambda n: n / 6), st.integers(1, 6), st.integers(1, 6))


@given(
    st.lists(st.tuples(values, st.sampled_from(["COMPLETE", "INFEASIBLE", "DUPLICATE"]), st.booleans()), max_size=12),
    st.integers(0, 5),
)
def test_finalists_and_front(told: list[tuple[tuple[float, int, int], str, bool]], wanted: int) -> None:
    study = make_study(finalists=wanted)
    rows = [
        row(i, *point, state=state, flags=["parity"] if broken else []) for i, (point, state, broken) in enumerate(told)
    ]
    may = [r for r in rows if r["state"] == "COMPLETE" and not r["flags"]]

    def better(a: dict[str, Any], b: dict[str, Any]) -> bool:
        pairs = [(-a["accuracy"], -b["accuracy"]), *((a[c], b[c]) for c in ("parameters", "size_bytes"))]
        return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)

    def front_among(some: list[dict[str, Any]]) -> list[int]:
        return [r["number"] for r in some if not any(better(other, r) for other in some)]

    chosen = [r["number"] for r in finalists_of(rows, study)]
    assert len(chosen) == len(set(chosen)) == min(wanted, len(may))
    left = may
    while chosen:  # front after front, until there are enough
        layer = front_among(left)
        head, chosen = chosen[: len(layer)], chosen[len(layer) :]
        assert set(head) <= set(layer)
        left = [r for r in left if r["number"] not in layer]
    front, shown = front_among(may), front_of(rows, study)
    assert sorted(r["number"] for r in shown) == front
    accuracies = [r["accuracy"] for r in shown]
    assert accuracies == sorted(accuracies, reverse=True)


def test_finalists_follow_the_studys_objectives() -> None:
    rows = [row(0, 0.9, 10, 10), row(1, 0.71, 20, 9), row(2, 0.7, 21, 1)]
    three, two = make_study(finalists=2), ("accuracy", "parameters")
    assert {r["number"] for r in front_of(rows, three)} == {0, 1, 2}
    assert [r["number"] for r in front_of(rows, three.model_copy(update={"objectives": two}))] == [0]
    # Without bytes the second is the next best; with them the third, which is hardly worse, makes more volume.
    assert [r["number"] for r in finalists_of(rows, three)] == [0, 2]
    assert [r["number"] for r in finalists_of(rows, three.model_copy(update={"objectives": two}))] == [0, 1]


def test_the_most_accurate_is_always_a_finalist() -> None:
    # By volume alone the balanced one comes first.
    rows = [row(0, 0.80, 10, 10), row(1, 0.88, 20, 20), row(2, 0.90, 1000, 1000)]
    assert [r["number"] for r in finalists_of(rows, make_study(finalists=1))] == [2]
    assert [r["number"] for r in finalists_of(rows, make_study(finalists=2))] == [2, 1]


def test_a_large_network_that_is_about_as_accurate_after_short_training_is_a_finalist() -> None:
    def of(number: int, accuracy: float, cost: int) -> dict[str, Any]:
        return row(number, accuracy, cost, cost) | {"accuracy_se": 0.02, "macs": cost}

    rows = [of(0, 0.80, 10), of(1, 0.88, 20), of(2, 0.90, 40), of(3, 0.881, 80), of(4, 0.879, 160)]
    short = {"epochs": 2}
    assert [r["number"] for r in finalists_of(rows, make_study(finalists=3, **short))] == [2, 3, 1]
    assert [r["number"] for r in finalists_of(rows, make_study(finalists=1, **short))] == [2]
    assert [r["number"] for r in finalists_of(rows[:3], make_study(finalists=2, **short))] == [2, 1]
    assert 3 not in [r["number"] for r in finalists_of(rows, make_study(finalists=3))]
    # The standard error is accuracy's; another quality has none of its own.
    unbalanced = [r | {"macro_f1": 1 - r["accuracy"]} for r in rows]
    assert slow_starter(unbalanced, make_study(**short).model_copy(update={"objectives": ("macro_f1",)})) == 3


def test_finalists_are_trained_anew_and_survive_restarts(folder: RunFolder) -> None:
    study = make_study(trials=8, finalists=3, seed=4, epochs=2)
    search = Search(study, folder)
    drive(search)
    expected = [r["number"] for r in finalists_of(search.rows(), study)]
    finalists = Finalists(study, folder)
    finalists.choose(search)
    first = task_of(finalists)
    assert (first.phase, first.seed, first.epochs) == ("final", 5, 8)
    assert first.folder.name == "final-5"
    finish(finalists, first)
    second = task_of(finalists)
    write_evaluation(second.folder, evaluated(second, study))  # and the driver dies before it hears of it
    again = Finalists(study, folder)
    again.choose(search)
    assert [r["trial"] for r in again.rows()] == expected[:2]
    drive(again)
    assert [r["trial"] for r in again.rows()] == expected
    assert [r["id"] for r in again.rows()] == [search.rows()[number]["id"] for number in expected]
    finished = Finalists(study, folder)
    finished.choose(search)
    assert finished.propose() == Done()
    assert len(finished.journal.trials()) == len(expected)


@pytest.mark.parametrize("quality", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_qualities_are_maximised(folder: RunFolder, quality: str) -> None:
    study = make_study(trials=3).model_copy(update={"objectives": ("parameters", quality)})
    search = Search(study, folder)
    assert [str(d.name) for d in search.journal._study.directions] == ["MINIMIZE", "MAXIMIZE"]
    scored = Score(accuracy=0.9, se=0.01, images=100, balanced_accuracy=0.8, macro_f1=0.7, log_loss=0.3)
    told = finish(search, task_of(search), validation=scored, test=scored)
    expected = {"accuracy": 0.9, "balanced_accuracy": 0.8, "macro_f1": 0.7}[quality]
    assert search.journal.trials()[0].values == [told["parameters"], expected]
    finish(search, task_of(search), State.INFEASIBLE)
    assert search.journal.trials()[-1].values[1] == 0  # the worst there is, which only samplers see
    assert (told["balanced_accuracy"], told["macro_f1"], told["log_loss"]) == (0.8, 0.7, 0.3)
    assert (told["test_balanced_accuracy"], told["test_macro_f1"]) == (0.8, 0.7)
    better = [
        row(0, 0.5, 10, 1, macro_f1=0.9, balanced_accuracy=0.9),
        row(1, 0.9, 10, 1, macro_f1=0.5, balanced_accuracy=0.5),
    ]
    assert [r["number"] for r in front_of(better, study)] == [1 if quality == "accuracy" else 0]


def test_log_loss_orders_rows_of_equal_quality_and_nothing_else() -> None:
    rows = [
        row(0, 0.9, 10, 30, log_loss=0.5), row(1, 0.9, 20, 20, log_loss=0.2), row(2, 0.9, 30, 10, log_loss=None),
        row(3, 0.9, 40, 40, log_loss=0.1), row(4, 0.8, 1, 1, log_loss=0.0),
    ]  # fmt: skip
    assert [r["number"] for r in front_of(rows, make_study())] == [1, 0, 2, 4]
    costs = make_study().model_copy(update={"objectives": ("parameters", "size_bytes")})
    assert [r["number"] for r in front_of(rows[:3], costs)] == [0, 1, 2]


NUMBERS = {"learning_rate": {"low": 0.01, "high": 1.0, "log": True}, "mixup": {"choices": (0.0, 0.2)}}


def test_a_candidate_with_other_training_numbers_is_no_duplicate(folder: RunFolder, script: Script) -> None:
    study = make_study(trials=3, finalists=3, anchors=False, training=NUMBERS)
    script(different(1) * 3)
    search = Search(study, folder)
    tasks = []
    while isinstance(task := search.propose(), Task):
        tasks.append(task)
        row = finish(search, task)
        assert row["params_training.learning_rate"] == task.training["learning_rate"]
        assert row["params_training.mixup"] == task.training["mixup"]
    assert states(search) == ["COMPLETE"] * 3
    assert len({task.candidate.id for task in tasks}) == 1
    assert len({tuple(task.training.values()) for task in tasks}) == 3
    assert len({task.folder for task in tasks}) == 3
    assert Task.from_line(tasks[0].to_line()) == tasks[0]
    finalists = Finalists(study, folder)
    finalists.choose(search)
    inherited = [task for task in iter(finalists.propose, WAIT) if isinstance(task, Task)]
    assert sorted(t.training["learning_rate"] for t in inherited) == sorted(t.training["learning_rate"] for t in tasks)
    Finalists(study, folder).choose(search)
    assert len(Finalists(study, folder).journal.trials()) == 3


def test_choices_alone_can_be_duplicates(folder: RunFolder, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.drawing, "MOST_DRAWS", 30)
    script(repeat(*different(1)))
    search = Search(make_study(trials=5, training={"mixup": {"choices": (0.0, 0.2)}}), folder)
    assert "exhausted" in drive(search).problem
    assert states(search).count("COMPLETE") == 2


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "nsga3"])
def test_searched_numbers_replay_over_restarts(tmp_path: Path, sampler: str) -> None:
    """The same study, asked with and without a restart before every ask, draws the same numbers."""

    def numbers(path: Path, *, restarts: bool) -> list[dict[str, float]]:
        folder = RunFolder(path)
        folder.path.mkdir()
        study = make_study(trials=14, sampler=sampler, training=NUMBERS)
        search, found = Search(study, folder), []
        while isinstance(task := search.propose(), Task):
            found.append(task.training)
            finish(search, task)
            search = Search(study, folder) if restarts else search
        return found

    straight = numbers(tmp_path / "a", restarts=False)
    assert straight == numbers(tmp_path / "b", restarts=True)
    assert len(straight) == 14
    assert all(0.01 <= n["learning_rate"] <= 1.0 and n["mixup"] in (0.0, 0.2) for n in straight)


def test_genes_of_numbers_come_last(folder: RunFolder) -> None:
    study = make_study(trials=1, training=NUMBERS)
    search = Search(study, folder)
    drive(search)
    plain = trial_columns(make_study(trials=1))
    assert trial_columns(study) == [*plain, "params_training.learning_rate", "params_training.mixup"]
    params = list(search.journal.trials()[0].params)
    assert params[-2:] == ["training.learning_rate", "training.mixup"]


def test_notes_of_plain_studies_are_as_before(folder: RunFolder) -> None:
    search = Search(make_study(trials=1), folder)
    drive(search)
    assert set(search.journal.trials()[0].user_attrs) >= {"candidate", "id", "seed", "epochs", "attempts", "deaths"}
    assert "training" not in search.journal.trials()[0].user_attrs


def test_scale_of_fronts() -> None:
    assert as_minimised("accuracy", 0.75) == as_minimised("macro_f1", 0.75) == 0.25
    assert as_minimised("latency_ms", 1.0) == 0.0
    points = [[as_minimised("accuracy", 0.5), as_minimised("parameters", p)] for p in (10, 20)]
    assert non_dominated(points).tolist() == [True, False]


@pytest.mark.parametrize(("trials", "expected"), [(1, 8), (48, 12), (100, 25), (1000, 50)])
def test_default_population(trials: int, expected: int) -> None:
    assert default_population(trials) == expected


# The local loop, with workers made by hand


@dataclass
class Workers:
    """Evaluates by hand what it is given; `press` says after how many results Ctrl-C comes, and how often."""

    folder: Path
    count: int
    threads: int
    press: dict[int, int] = field(default_factory=dict)
    running: list[Task] = field(default_factory=list)
    results: int = 0

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def idle(self) -> int:
        return self.count - len(self.running)

    def submit(self, task: Task) -> None:
        self.running.append(task)

    def wait(self, _: float) -> list[Finished]:
        for _press in range(self.press.get(self.results, 0)):
            signal.raise_signal(signal.SIGINT)
        self.results += 1
        task = self.running.pop(0)
        passed = {"test": score(50, 100)} if task.phase == "final" else {}
        write_evaluation(task.folder, evaluated(task, load_study(self.folder / "study.yaml"), **passed))
        return [Finished(task)]


Run = Callable[..., bool]


@pytest.fixture
def run(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Run:
    def start(press: dict[int, int] | None = None, **search: Any) -> bool:
        def workers(path: Path, count: int, threads: int, *_: object) -> Workers:
            return Workers(path, count, threads, press or {})

        monkeypatch.setattr(nas.launch, "LocalWorkers", workers)
        options = {"trials": 6, "finalists": 2, "workers": 2, "sampler": "nsga2", **search}
        return nas.launch.run(make_study(**options), folder.path, Console(quiet=True))

    return start


def read(folder: RunFolder, name: str) -> list[dict[str, str]]:
    return Table(folder.path / f"{name}.csv", []).read()


def test_a_run_writes_its_tables(folder: RunFolder, run: Run) -> None:
    assert run()
    trials, finalists, front = (read(folder, name) for name in ("trials", "finalists", "front"))
    assert sum(row["state"] == "COMPLETE" for row in trials) == 6
    assert len(finalists) == 2
    assert {row["id"] for row in front} <= {row["id"] for row in finalists}
    assert all(row["test_accuracy"] == "0.5" and row["artifact"].endswith("/final-1") for row in front)
    assert run()
    assert [read(folder, name) for name in ("trials", "finalists", "front")] == [trials, finalists, front]


def test_reference_point_is_fixed_and_kept_in_a_longer_search(folder: RunFolder, run: Run) -> None:
    assert run(trials=5)
    point = load_study(folder.study).report.hypervolume_reference
    assert set(point) == {"accuracy", "parameters", "size_bytes"}
    first = [row for row in read(folder, "trials") if row["state"] == "COMPLETE"][:4]
    assert point["size_bytes"] == pytest.approx(1.1 * max(int(row["size_bytes"]) for row in first))
    assert point["accuracy"] == pytest.approx(min(float(row["accuracy"]) for row in first) / 1.1)
    assert run(trials=8)
    assert load_study(folder.study).report.hypervolume_reference == point


def test_ctrl_c_once_finishes_what_is_running(folder: RunFolder, run: Run) -> None:
    assert not run({2: 1})
    before = read(folder, "trials")
    assert sum(row["state"] == "COMPLETE" for row in before) == 4  # two were done, two were running
    assert not (folder.path / "finalists.csv").exists()
    front = read(folder, "front")
    assert front
    assert all(row["test_accuracy"] == "" and row["artifact"].endswith("/search-0") for row in front)
    assert run()
    assert read(folder, "trials")[: len(before)] == before
    assert {row["attempts"] for row in read(folder, "trials")} == {"1"}


def test_ctrl_c_in_a_longer_search_keeps_the_front_of_the_finalists(folder: RunFolder, run: Run) -> None:
    assert run()
    front = read(folder, "front")
    assert not run({1: 1}, trials=9)
    assert read(folder, "front") == front


def test_ctrl_c_twice_stops_now_and_is_no_death(folder: RunFolder, run: Run) -> None:
    for _ in range(4):
        with pytest.raises(nas.local_loop.Interrupted):
            run({0: 2}, trials=30)
    trials = Search(make_study(trials=30, workers=2), folder).journal.trials()
    assert {trial.user_attrs["deaths"] for trial in trials} == {0}


def test_ctrl_c_twice_stops_at_once_while_nobody_looks() -> None:
    stop = Stop(console=Console(quiet=True))
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_run_does_not_go_on_with_other_latencies(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run()
    recorded = fingerprint(make_study().target)
    assert run(trials=7)
    another = recorded.model_copy(update={"runtime": "onnxruntime 0.1"})
    monkeypatch.setattr(nas.launch, "fingerprint", lambda _: another)
    before = folder.study.read_text(), folder.journal.read_bytes()
    with pytest.raises(InputError, match=r"recorded -> here:\n  runtime: .* -> onnxruntime 0\.1\n"):
        run(trials=8)
    assert (folder.study.read_text(), folder.journal.read_bytes()) == before
    monkeypatch.setattr(nas.launch, "fingerprint", lambda _: recorded)
    monkeypatch.setattr(nas.launch, "PROTOCOL", "median of 3")
    with pytest.raises(InputError, match=r"  protocol: .* -> median of 3"):
        run(trials=8)


def test_test_images_that_cannot_be_read_are_told_before_finalists_are_trained(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable() -> Images:
        raise InputError("data.path: 1 unreadable image file(s)")

    def broken(*given: Any, **options: Any) -> DataSet:
        return replace(load(*given, **options), load_test=unreadable)

    with monkeypatch.context() as patched:
        patched.setattr(nas.launch, "load", broken)
        with pytest.raises(InputError, match="1 unreadable image"):
            run()
    assert not (folder.path / "finalists.csv").exists()
    assert run()
    assert len(read(folder, "finalists")) == 2
    monkeypatch.setattr(nas.launch, "load", broken)
    assert run()  # nothing is left to be tested


def test_first_deaths_of_workers_are_not_the_candidates(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workers, "submit", lambda self, task: self.running.append(task))
    monkeypatch.setattr(Workers, "wait", lambda self, _: [Died(self.running.pop(0), "no torch", started=False)])
    with pytest.raises(nas.local_loop.WorkFailed, match="workers do not start: no torch"):
        run()
    assert Search(make_study(trials=6), folder).journal.trials()[0].user_attrs["deaths"] == 0


def test_too_long_is_told_and_the_run_goes_on(folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    original, late = Workers.wait, [True]

    def wait(self: Workers, seconds: float) -> list[Any]:
        return [TookTooLong(self.running.pop(0))] if late.pop() else original(self, seconds)

    monkeypatch.setattr(Workers, "wait", lambda self, s: wait(self, s) if late else original(self, s))
    assert run(trial_minutes=0.1, workers=1)
    trials = read(folder, "trials")
    assert (trials[0]["state"], trials[0]["reason"]) == ("FAILED", "took longer than search.trial_minutes 0.1")
    assert sum(row["state"] == "COMPLETE" for row in trials) == 6


def test_a_broken_disk_ends_the_run_and_costs_no_candidate(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Workers, "wait", lambda self, _: [Broke(self.running.pop(0), "No space left on device")])
        with pytest.raises(nas.local_loop.WorkFailed, match="run: No space left on device; nothing finished is lost"):
            run()
    assert run()
    trials = read(folder, "trials")
    assert trials[0]["state"] == "COMPLETE"
    assert {row["state"] for row in trials} <= {"COMPLETE", "DUPLICATE"}


# Tables


@dataclass
class Table:
    file: Path
    columns: list[str]
    rows: list[dict[str, str]] = field(default_factory=list)

    def read(self) -> list[dict[str, str]]:
        with self.file.open(newline="") as file:
            return list(csv.DictReader(file))


def evaluated_row(study: Study, folder: RunFolder, **fields: Any) -> dict[str, Any]:
    candidate = different(1)[0]
    task = Task(3, candidate, "search", 1, 8, folder.path)
    return row_of(3, evaluated(task, study, **fields), "artifacts/x", {"head.width": 16}, study)


def test_columns_of_the_tables(folder: RunFolder) -> None:
    study = make_study()
    row = evaluated_row(study, folder)
    for columns in (trial_columns(study), front_columns(study)):
        assert len(set(columns)) == len(columns)
    tests = {"test_accuracy", "test_accuracy_se", "test_balanced_accuracy", "test_macro_f1"}
    assert set(row) - tests <= set(trial_columns(study))
    assert tests <= set(front_columns(study))
    genes = [column.removeprefix("params_") for column in trial_columns(study) if column.startswith("params_")]
    assert genes == [
        "stage1.depth", "stage1.width", "stage1.block1.expansion", "stage1.block2.expansion", "head.width",
        "stem.weight_format", "stage1.weight_format", "head.weight_format", "classifier.weight_format",
    ]  # fmt: skip


def test_cells(folder: RunFolder, tmp_path: Path) -> None:
    study = make_study()
    violations = {"parameters": 0.1, "macs": 1 / 3}
    row = evaluated_row(study, folder, flags=("parity", "x"), violations=violations)
    table = Table(tmp_path / "trials.csv", trial_columns(study))
    write_rows(table.file, table.columns, [row])
    (cells,) = table.read()
    assert list(cells) == table.columns
    for name in ("number", "epochs", "parameters", "size_bytes", "macs", "peak_memory_bytes", "attempts", "seed"):
        assert cells[name] == str(int(row[name]))
    for name in ("fidelity", "accuracy", "accuracy_se", "latency_ms", "seconds"):
        assert float(cells[name]) == row[name]
    assert (cells["seconds"], cells["fidelity"]) == ("0.75", "1.0")
    assert (cells["flags"], cells["violation"]) == ("parity x", "parameters=0.1; macs=0.3333333333333333")
    assert (cells["train_accuracy"], cells["params_stage1.depth"]) == ("", "")
    assert (cells["params_head.width"], cells["artifact"]) == ("16", "artifacts/x")


@given(st.floats(0, 1), st.floats(1e-9, 1e9), st.integers(0, 2**53))
def test_numbers_survive_the_table(tmp_path_factory: pytest.TempPathFactory, a: float, ms: float, count: int) -> None:
    table = Table(tmp_path_factory.getbasetemp() / "numbers.csv", ["accuracy", "latency_ms", "parameters"])
    write_rows(table.file, table.columns, [{"accuracy": a, "latency_ms": ms, "parameters": float(count)}])
    (cells,) = table.read()
    assert (float(cells["accuracy"]), float(cells["latency_ms"]), cells["parameters"]) == (a, ms, str(count))


def test_appended_rows_and_torn_tables(tmp_path: Path) -> None:
    table = Table(tmp_path / "trials.csv", ["number", "reason"])
    assert count_rows(table.file, table.columns) == -1
    write_rows(table.file, table.columns, [])
    for number in range(3):
        append_row(table.file, table.columns, {"number": number, "reason": 'a "b", c\nd', "other": 1})
    assert count_rows(table.file, table.columns) == 3
    assert table.read()[2] == {"number": "2", "reason": 'a "b", c\nd'}
    assert count_rows(table.file, ["number"]) == -1
    whole = table.file.read_bytes()
    table.file.write_bytes(whole[:-1])
    assert count_rows(table.file, table.columns) == -1


def test_structure_is_summed_up_by_hand(folder: RunFolder) -> None:
    def layer(name: str, kind: str, out: int, parameters: int, weight_format: str, unpruned: int | None) -> LayerReport:
        block = name.rpartition(".")[0] or name
        fields = {"in_channels": 1, "kernel": 1, "macs": 0, "ran": "float", "unpruned_channels": unpruned}
        return LayerReport.model_validate(
            {"name": name, "block": block, "kind": kind, "out_channels": out, "parameters": parameters}
            | {"format": weight_format, **fields}
        )

    layers = (
        layer("stem.conv", "conv", 8, 8 + 72, "int8", None),
        layer("stage1.block1.expand", "pointwise", 12, 12 + 100, "int4", 24),
        layer("stage1.block1.project", "pointwise", 10, 10 + 100, "fp32", 10),
        layer("classifier", "linear", 5, 5 + 50, "int2", 5),
    )
    row = evaluated_row(make_study(), folder, layers=layers)
    assert {name: row[name] for name in STRUCTURE} == {
        "blocks": 1,
        "mean_width": 10.0,
        "kept_share": 30 / 42,
        "mean_bits": (72 * 8 + 100 * 4 + 100 * 32 + 50 * 2) / 322,
    }
    assert structure_of(()) == {}
    assert set(STRUCTURE) <= set(trial_columns(make_study()))


def test_genes_of_layers_that_few_ways_through_the_widths_reach() -> None:
    """Blocks of stage 2 have a shortcut only where stage 1 has not the width that stage 2 always has."""
    stages = ({"depths": (1,), "widths": (8, 16, 24)}, {"depths": (1,), "widths": (16,), "stride": 1})
    layered = {"weight_format": ("int8", "fp32"), "granularity": "layer"}
    shape = {
        "family": "shuffle",
        "head_widths": (8,),
        "stem_widths": (8, 24),
        "stages": stages,
        "expansions": (1,),
        "kernels": (3,),
    }
    study = make_study().model_dump() | {"space": {"input_size": 8, **shape}, "compression": layered}
    study = Study.model_validate(study)
    known = set(gene_choices(study))
    assert "stage2.block1.shortcut_project.weight_format" in known
    draws, random = nas.drawing.Draws(study), np.random.default_rng(0)
    for _ in range(100):
        trial = nas.drawing.RandomTrial(random)
        draws(trial)
        assert trial.values.keys() <= known


def test_choices_of_every_gene() -> None:
    choices = gene_choices(make_study())
    assert choices["stage1.depth"] == (1, 2)
    assert choices["stage1.block2.expansion"] == (1, 2)
    assert choices["stage1.weight_format"] == ("fp32", "int8")
    assert list(choices) == all_genes(make_study())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_rows_and_counts_follow_every_finish(folder: RunFolder, script: Script, order: tuple[int, ...]) -> None:
    script([*different(3), different(1)[0], *different(5)[3:]])
    search = Search(make_study(trials=9), folder)
    tasks = [task_of(search) for _ in range(3)]
    assert (search.rows(), search.count(State.COMPLETE)) == ([], 0)
    for seen, index in enumerate(order, start=1):
        finish(search, tasks[index], State.FAILED if index == 1 else State.COMPLETE)
        assert [row["number"] for row in search.rows()] == sorted(order[:seen])
        assert search.count(State.FAILED) == (1 in order[:seen])
    finish(search, task_of(search))
    expected = [trial.user_attrs["row"] for trial in search.journal.trials() if "row" in trial.user_attrs]
    assert search.rows() == expected == Search(search.study, folder).rows()
    assert states(search) == ["COMPLETE", "FAILED", "COMPLETE", "DUPLICATE", "COMPLETE"]
    assert search.count(State.DUPLICATE) == 1


def test_a_run_goes_on_behind_a_torn_record(folder: RunFolder, run: Run) -> None:
    assert run()
    before = read(folder, "trials")
    with folder.journal.open("ab") as file:
        file.write(b'{"op_code": 4, "worker_id": "7')
    assert run(trials=8)
    assert read(folder, "trials")[: len(before)] == before
    assert Search(make_study(trials=8), folder).count(State.COMPLETE) == 8


def test_a_candidate_that_kills_its_workers_costs_itself_alone(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three deaths over the first candidate, and one of a worker that had nothing to do."""
    original, left = Workers.wait, [True, True, False, True]

    def wait(self: Workers, seconds: float) -> list[Any]:
        if not left:
            return original(self, seconds)
        return [Died(self.running.pop(0) if left.pop() else None, "worker killed by signal 9", started=True)]

    monkeypatch.setattr(Workers, "wait", wait)
    assert run(workers=1)
    trials = read(folder, "trials")
    assert (trials[0]["state"], trials[0]["reason"]) == ("FAILED", "worker killed by signal 9 (death 3)")
    assert sum(row["state"] == "COMPLETE" for row in trials) == 6


def test_first_deaths_count_in_a_row(folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    original, dies = Workers.wait, [False, True, True, False, True, True]

    def wait(self: Workers, seconds: float) -> list[Any]:
        if dies and dies.pop():
            return [Died(self.running.pop(0), "no torch", started=False)]
        return original(self, seconds)

    monkeypatch.setattr(Workers, "wait", wait)
    assert run(workers=1)
    assert {row["state"] for row in read(folder, "trials")} <= {"COMPLETE", "DUPLICATE"}


def test_workers_are_given_the_limits_of_the_study(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    given_limits: list[tuple[Callable[[Task], float | None], Callable[[], bool]]] = []

    def workers(path: Path, count: int, threads: int, limit: Any, excused: Any) -> Workers:
        given_limits.append((limit, excused))
        return Workers(path, count, threads)

    monkeypatch.setattr(nas.launch, "LocalWorkers", workers)
    training = {"distillation": {"teacher": "reference"}}
    study = make_study(trials=1, finalists=1, epochs=2, trial_minutes=0.5, training=training)
    assert nas.launch.run(study, folder.path, Console(quiet=True))
    ((limit, excused),) = given_limits
    task = Task(0, different(1)[0], "search", 0, 2, folder.path)
    assert [limit(replace(task, epochs=epochs)) for epochs in (2, 8)] == [0.5, 2.0]
    assert excused()
    folder.reference.mkdir()
    folder.reference_logits.touch()
    assert not excused()


def test_a_run_does_not_go_on_with_another_split(folder: RunFolder, run: Run) -> None:
    assert run()
    split, rows = folder.split.read_text(), read(folder, "trials")
    digest = json.loads(split)["images"]
    for changed in (split.replace("[", "[0, ", 1), split.replace(digest, digest[::-1])):
        folder.split.write_text(changed)
        with pytest.raises(InputError, match=r"split\.json: was recorded of other images.*; has the data changed"):
            run(trials=8)
    recorded = json.loads(split)
    folder.split.write_text(json.dumps({part: recorded[part] for part in ("validation", "test")}))  # an older version's
    assert run(trials=6)
    assert folder.split.read_text() == split
    assert read(folder, "trials") == rows


def test_a_run_in_which_everything_fails_has_failed(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(self: Workers, _: float) -> list[Any]:
        task = self.running.pop(0)
        write_evaluation(task.folder, evaluated(task, make_study(), State.FAILED, reason="no [/luck]"))
        return [Finished(task)]

    monkeypatch.setattr(Workers, "wait", wait)
    with pytest.raises(nas.local_loop.WorkFailed, match=r"the last 10 candidates all failed, .* no \[/luck\]"):
        run()


def test_the_population_is_fixed_when_the_run_begins(folder: RunFolder) -> None:
    first = nas.launch.resolve(make_study(population=None, trials=48), folder)
    assert first.search.population == 12
    folder.study.write_text(dump_study(first))
    assert nas.launch.resolve(make_study(population=None, trials=400), folder).search.population == 12
