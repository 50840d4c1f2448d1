"""The search: what counts as a trial, what is repeated, when it ends."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product, repeat

import optuna
import pytest
from by_hand import NUMBERS, SPACE, Script, different, drive, finish, make_study, states, task_of
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

import nas.search.draws
import nas.search.search
from nas.candidates.sampling import sample
from nas.expected_gain import RECENT_ASKS
from nas.records import State, score
from nas.run_folder.paths import RunFolder
from nas.search.driver import WAIT, Done
from nas.search.finalists import Finalists
from nas.search.sampling import default_population
from nas.search.search import Search
from nas.study import Compression
from nas.tasks import Task
from search_spaces.spaces import MobileSpace
from search_spaces.trials import Replay


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


def test_time_is_up(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(make_study(trials=5, hours=1.0), folder)
    now = nas.search.search.time.monotonic()
    first = task_of(search)
    monkeypatch.setattr(nas.search.search.time, "monotonic", lambda: now + 3599)
    second = task_of(search)
    monkeypatch.setattr(nas.search.search.time, "monotonic", lambda: now + 3601)
    assert search.propose() is WAIT
    finish(search, first)
    finish(search, second)
    assert search.propose() == Done()


def test_time_is_up_for_what_was_queued_too(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    task_of(Search(make_study(trials=5), folder))
    search = Search(make_study(trials=5, hours=1.0), folder)
    now = nas.search.search.time.monotonic()
    monkeypatch.setattr(nas.search.search.time, "monotonic", lambda: now + 3601)
    assert search.propose() == Done()
    assert task_of(Search(make_study(trials=5), folder)).number == 0  # it is not lost


def test_duplicate_gets_the_values_of_the_first(folder: RunFolder, script: Script) -> None:
    a, b = different(2)
    script([a, a, a, b])
    search = Search(make_study(trials=2), folder)
    row = finish(search, task_of(search))
    task = task_of(search)
    assert (task.number, task.candidate) == (3, b)
    first, *repeats = search.journal.trials()[:3]
    for trial in repeats:
        assert search.notes(trial.number).duplicate_of == 0
        assert (trial.state, trial.values) == (TrialState.COMPLETE, first.values)
        told = search.rows()[trial.number]
        assert (told.state, told.reason) == ("DUPLICATE", "same candidate as trial 0")
        assert told == replace(row, number=trial.number, state=State.DUPLICATE, reason=told.reason, seconds=None)


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
    monkeypatch.setattr(nas.search.draws, "MOST_DRAWS", 30)
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
    assert {row.id for row in search.rows()} == networks
    assert search.count(State.COMPLETE) == len(networks) == 24


@pytest.mark.parametrize(("infeasible", "stops"), [(94, False), (95, True), (100, True)])
def test_a_constraint_that_nearly_everything_breaks_is_named(
    folder: RunFolder, script: Script, monkeypatch: pytest.MonkeyPatch, infeasible: int, stops: bool
) -> None:
    monkeypatch.setattr(Search, "repeats", lambda _: 0)
    script(different(102))
    study = make_study(trials=1000, sampler="random", constraints={"parameters": 5.0, "macs": 1e5})
    search = Search(study, folder)
    for i in range(100):
        broken = {"parameters": 0.5} | ({"macs": 0.1} if i % 2 else {})
        state = State.INFEASIBLE if i < infeasible else State.COMPLETE
        finish(search, task_of(search), state, violations=broken if i < infeasible else {})
    least = min(row.value("parameters") for row in search.rows()[:infeasible])
    answer = search.propose()
    if not stops:
        assert isinstance(answer, Task)
        return
    assert answer == Done(
        f"{infeasible} of the last 100 candidates are infeasible; "
        f"constraints.parameters.max 5 is broken by {infeasible} of them, the least has {least:g}"
    )


@pytest.mark.parametrize(("trials", "most"), [(2, 10), (12, 12)])
def test_a_search_that_trains_in_vain_ends(folder: RunFolder, trials: int, most: int) -> None:
    """A quality that no network has costs twice the trials, or ten; what is not trained costs nothing."""
    study = make_study(trials=trials, sampler="random", constraints={"accuracy": 0.9, "parameters": 5.0})
    search = Search(study, folder)
    finish(search, task_of(search), State.INFEASIBLE, violations={"parameters": 0.5})
    for number in range(most):
        missed = {"validation": score(50 + number, 100), "violations": {"accuracy": 0.4}}
        finish(search, task_of(search), State.INFEASIBLE, **missed)
    answer = search.propose()
    assert isinstance(answer, Done)
    assert answer.problem == (
        f"{most} candidates were trained and are infeasible; constraints.accuracy.min 0.9 is broken by {most} of them, "
        f"the best has {0.5 + (most - 1) / 100:g}"
    )


def test_what_was_begun_is_done_before_the_search_ends_early(folder: RunFolder, script: Script) -> None:
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


def test_a_candidate_with_other_training_numbers_is_no_duplicate(folder: RunFolder, script: Script) -> None:
    study = make_study(trials=3, finalists=3, anchors=False, training=NUMBERS)
    script(different(1) * 3)
    search = Search(study, folder)
    tasks = []
    while isinstance(task := search.propose(), Task):
        tasks.append(task)
        row = finish(search, task)
        assert row.params["training.learning_rate"] == task.training["learning_rate"]
        assert row.params["training.mixup"] == task.training["mixup"]
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
    monkeypatch.setattr(nas.search.draws, "MOST_DRAWS", 30)
    script(repeat(*different(1)))
    search = Search(make_study(trials=5, training={"mixup": {"choices": (0.0, 0.2)}}), folder)
    assert "exhausted" in drive(search).problem
    assert states(search).count("COMPLETE") == 2


@pytest.mark.parametrize(("trials", "expected"), [(1, 8), (48, 12), (100, 25), (1000, 50)])
def test_default_population(trials: int, expected: int) -> None:
    assert default_population(trials) == expected


class Expecting(RandomSampler):
    """A sampler that notes of every proposal how much it expects."""

    def __init__(self, gain: float, seed: int) -> None:
        super().__init__(seed=seed)
        self._gain = gain

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        noted = {"gain": self._gain, "hypervolume": 0.5}
        study._storage.set_trial_system_attr(trial._trial_id, "pareto:gain", noted)


def expecting(folder: RunFolder, monkeypatch: pytest.MonkeyPatch, gain: float, **search: float) -> Search:
    """Every trial takes 0.75 seconds by hand, so that an hour has 4 800 of them."""
    study = make_study(trials=12)
    study = study.model_copy(update={"search": study.search.model_copy(update=search)})
    made = Search(study, folder)
    monkeypatch.setattr(made.sampling, "next", lambda number, *_: Expecting(gain, seed=number))
    return made


def test_a_search_ends_where_little_more_is_expected(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    search = expecting(folder, monkeypatch, 1e-6, stop_when_gain_below=0.01)
    done = drive(search)
    assert done.problem == (
        "another hour is expected to enlarge the hypervolume by 0.96%, less than search.stop_when_gain_below 0.01"
    )
    complete = search.count(State.COMPLETE)
    assert RECENT_ASKS <= complete < 12
    assert all(row.expected_gain == pytest.approx(2e-6) for row in search.rows() if row.state is State.COMPLETE)
    assert all(row.expected_gain is None for row in search.rows() if row.state is State.DUPLICATE)
    assert drive(Search(search.study, folder)) == done  # a restart finds the same
    patient = search.study.search.model_copy(update={"stop_when_gain_below": 0.001})
    assert drive(Search(search.study.model_copy(update={"search": patient}), folder)) == Done()


def test_a_search_goes_on_where_more_is_expected(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    search = expecting(folder, monkeypatch, 1e-5, stop_when_gain_below=0.01)
    assert drive(search) == Done()
    assert search.gain_per_hour() == pytest.approx(0.096)


def test_what_is_expected_is_not_reckoned_where_it_decides_nothing(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop asks for a task several times a second."""
    search = expecting(folder, monkeypatch, 1e-6)
    monkeypatch.setattr(search, "gain_per_hour", lambda: pytest.fail("reckoned over all rows"))
    assert drive(search) == Done()


def test_other_samplers_expect_nothing(folder: RunFolder) -> None:
    search = Search(make_study(trials=10), folder)
    assert drive(search) == Done()
    assert search.gain_per_hour() is None
    assert all(row.expected_gain is None for row in search.rows())
