"""Searches by samplers that live through all of them: the same candidates after any restart, and a grid's end."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from by_hand import NUMBERS, drive, finish, make_study, measured, states, summary, task_of

import nas.search.modelled
from nas.errors import InputError
from nas.records import State, score
from nas.run_folder.paths import RunFolder
from nas.samplers.pareto import gain_of
from nas.search.modelled import grid_problem
from nas.search.search import Search
from nas.study import Compression, Study
from nas.tasks import Task


@pytest.fixture(autouse=True)
def _small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.search.modelled, "POOL_SIZE", 60)


def pareto_study(**fields: object) -> Study:
    study = make_study(
        trials=14, sampler="pareto", constraints={"parameters": 2500.0}, training={"mixup": NUMBERS["mixup"]}
    )
    space = study.space.model_copy(update={"expansions": (1, 2, 3), "head_widths": (8, 16, 24)})
    return study.model_copy(update={"space": space, "objectives": ("accuracy", "latency_ms", "size_bytes"), **fields})


def asked_elsewhere(search: Search, path: Path) -> Task:
    """What another process would propose, that finds the same run folder."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(search.folder.path, path)
    again = Search(search.study, RunFolder(path))
    again._waiting.clear()  # what runs here would be continued there
    return task_of(again)


def test_every_ask_is_the_same_in_a_new_process(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    search, running = Search(pareto_study(), RunFolder(tmp_path / "here")), list[Task]()
    for number in range(10):
        there = asked_elsewhere(search, tmp_path / "there")
        task = task_of(search)
        assert (task.number, task.candidate, task.training) == (there.number, there.candidate, there.training)
        running.append(task)
        if len(running) == 3:  # workers; the newest ends first
            finish(search, running.pop(number % 2 - 1))
    assert {"COMPLETE", "INFEASIBLE"} >= set(states(search))
    gains = [gain_of(trial) for trial in search.journal.trials()]
    assert gains[0] is None
    assert gains[-1] is not None
    assert 0 <= gains[-1]["gain"] <= 1
    assert 0 < gains[-1]["hypervolume"] <= 1


def test_a_search_continued_at_every_trial_is_the_search(tmp_path: Path) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    study = pareto_study()
    study = study.model_copy(update={"search": study.search.model_copy(update={"trials": 9})})
    whole = Search(study, RunFolder(tmp_path / "whole"))
    drive(whole)
    cut = Search(study, RunFolder(tmp_path / "cut"))
    while cut.count(State.COMPLETE) < study.search.trials:
        cut = Search(study, RunFolder(tmp_path / "cut"))
        finish(cut, task_of(cut))
    assert summary(cut)[0] == summary(whole)[0]


def test_the_search_begins_with_the_anchors(tmp_path: Path) -> None:
    study = pareto_study()
    there = Search(study.model_copy(update={"search": study.search.model_copy(update={"sampler": "nsga2"})}),
                   RunFolder(tmp_path))  # fmt: skip
    expected = [task_of(there).candidate for _ in range(2)]
    (tmp_path / "pareto").mkdir()
    search = Search(study, RunFolder(tmp_path / "pareto"))
    assert [task_of(search).candidate for _ in range(2)] == expected


def test_what_surely_breaks_a_constraint_is_not_proposed(folder: RunFolder) -> None:
    search = Search(pareto_study(constraints=make_study(constraints={"parameters": 900.0}).constraints), folder)
    tasks = []
    for _ in range(12):
        tasks.append(task_of(search))
        finish(search, tasks[-1])
    assert all(task.candidate.parameters(10) <= 900 for task in tasks[2:])  # behind the anchors


def test_a_constrained_quality_is_learned_and_kept_to(folder: RunFolder) -> None:
    """Small networks are the less accurate here; the sampler finds out, though it is asked for small ones."""
    study = pareto_study(constraints=make_study(constraints={"accuracy": 0.6}).constraints)
    study = study.model_copy(update={"search": study.search.model_copy(update={"trials": 40})})
    search, accuracies = Search(study, folder), list[float]()
    for _ in range(20):
        task = task_of(search)
        hits = min(99, int(task.candidate.parameters(10) / 40))
        broken = {"violations": {"accuracy": 1 - hits / 60}} if hits < 60 else {}
        state = State.INFEASIBLE if broken else State.COMPLETE
        finish(search, task, state, validation=score(hits, 100), **broken)
        accuracies.append(hits / 100)
    first, later = accuracies[:8], accuracies[8:]
    assert sum(accuracy < 0.6 for accuracy in first) >= 3
    assert sum(accuracy >= 0.6 for accuracy in later) >= 9, accuracies


def test_latencies_measured_before_the_search_are_used(folder: RunFolder) -> None:
    study = pareto_study()
    task = task_of(Search(study, folder))
    latency = measured(task.candidate).latency["cpu"].latency_ms
    search = Search(study, folder, calibrated={"latency_ms": [(task.candidate, latency)] * 5})
    params = search.journal.trials()[0].params
    entry = search.sampling.modelled.proposals.costs(params)[1]
    assert isinstance(entry, tuple)
    assert entry[0] == pytest.approx(latency, rel=0.05)


def test_a_grid_takes_every_candidate_once(folder: RunFolder) -> None:
    study = make_study(trials=1000, sampler="grid").model_copy(update={"compression": Compression()})
    search = Search(study, folder)
    problem = drive(search).problem
    assert "the space is exhausted" in problem
    rows = [row for row in search.rows() if row.state is State.COMPLETE]
    assert len({row.id for row in rows}) == len(rows)
    assert len(rows) == 24
    assert states(search)[:24] == ["COMPLETE"] * 24


@pytest.mark.parametrize(
    ("training", "came"),
    [(None, "one of 384"), ({"learning_rate": NUMBERS["learning_rate"]}, "training numbers that are searched in a")],
)
def test_a_space_that_is_no_grid(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, training: dict[str, object] | None, came: str
) -> None:
    monkeypatch.setattr(nas.search.modelled, "LARGEST", 100)
    study = make_study(sampler="grid", training=training)
    with pytest.raises(InputError, match=f"search.sampler: grid: expected a space of at most 100 .*{came}"):
        Search(study, folder)
    assert grid_problem(study)
