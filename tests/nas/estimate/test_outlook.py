"""A moving estimate learns from what is told, and counts down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from by_hand import different, evaluated, make_study

from nas.candidates.candidate import Candidate
from nas.estimate import Expected, Plan
from nas.estimate.outlook import PRIOR, Outlook, usual_speed
from nas.estimate.plan import BEFORE_TRAINING
from nas.estimate.whole import REPORT_SECONDS
from nas.records import Phase, State
from nas.tasks import Progress, Task

IMAGES, SLOWER = 640, 5.0
SECONDS = {"build": 0.5, "measure": 1.0, "train": 20.0, "score": 1.5}


@pytest.fixture
def candidates() -> list[Candidate]:
    return different(3)


@pytest.fixture
def outlook(candidates: list[Candidate]) -> Outlook:
    return outlook_of(candidates)


def outlook_of(draws: list[Candidate], **search: Any) -> Outlook:
    study = make_study(training={"batch_size": 64}, **{"workers": 1, "finalists": 1, "repeat_share": 0.0} | search)
    study = study.model_copy(update={"baseline": False})
    expected = Expected((), tuple(draws), 1.0, 0.0, 0)
    return Outlook(Plan(study, usual_speed(), IMAGES, 10, expected))


def task_of(candidate: Candidate, number: int = 0, phase: Phase = "search") -> Task:
    return Task(number, candidate, phase, 0, 8, Path())


def training(candidate: Candidate, epochs: float, rate: float) -> Progress:
    return Progress("train", "dense", epochs, 8, 1.0, rate)


def usual_rate(outlook: Outlook, candidate: Candidate) -> float:
    """Images per second of the dense stage at the usual speed."""
    row = outlook.plan.computed(candidate, final=False).rows["dense"]
    return float(64 / (row @ usual_speed().rates["dense"]))


def test_a_task_that_says_nothing_takes_what_its_kind_takes(outlook: Outlook, candidates: list[Candidate]) -> None:
    task = task_of(candidates[0])
    assert outlook.left(task) == outlook.plan.job(candidates[0])


def test_what_is_left_falls_with_the_epochs_and_follows_the_rate(outlook: Outlook, candidates: list[Candidate]) -> None:
    one, task = candidates[0], task_of(candidates[0])
    usual, rest = outlook.plan.training(one, final=False), (1 - BEFORE_TRAINING) * 1.0 + outlook.plan.measuring(one)
    rate = usual_rate(outlook, one) / SLOWER
    outlook.hear(task, training(one, 0.0, rate))
    assert outlook.left(task) == pytest.approx(SLOWER * usual + rest)
    outlook.hear(task, training(one, 2.0, rate))  # of four epochs of the dense stage
    stages = outlook.plan.computed(one, final=False).after(2 / 8)
    assert outlook.left(task) == pytest.approx(outlook.plan.speed.seconds(stages) + rest)
    assert outlook.left(task) < SLOWER * usual
    outlook.hear(task, Progress("rung"))  # how far it was is not forgotten
    outlook.hear(task, training(one, 8.0, rate))
    assert outlook.left(task) == pytest.approx(rest)
    outlook.hear(task, Progress("score"))
    assert 0 < outlook.left(task) < rest


def test_one_training_tells_of_the_others(outlook: Outlook, candidates: list[Candidate]) -> None:
    one, other = candidates[:2]
    before = outlook.search_left([], 3)
    outlook.hear(task_of(one), training(one, 0.1, usual_rate(outlook, one) / SLOWER))
    assert outlook.plan.training(other, final=False) == pytest.approx(
        SLOWER * Plan(outlook.plan.study, usual_speed(), IMAGES, 10, outlook.plan.expected).training(other, final=False)
    )
    assert outlook.search_left([], 3) > before


def test_finished_evaluations_tell_what_is_around_a_training(outlook: Outlook, candidates: list[Candidate]) -> None:
    one, study = candidates[0], outlook.plan.study
    outlook.finished(task_of(one), evaluated(task_of(one), study, seconds=SECONDS))
    assert outlook.plan.around(one) == pytest.approx(2.0)
    assert outlook.plan.measuring(one) == pytest.approx(0.5)
    outlook.finished(task_of(one), evaluated(task_of(one), study, State.INFEASIBLE, seconds={"build": 100.0}))
    assert outlook.plan.around(one) == pytest.approx(2.0)  # it was not trained


def test_trials_to_come_are_as_those_before_and_as_what_may_be_drawn(candidates: list[Candidate]) -> None:
    drawn, trained = sorted(candidates[:2], key=lambda one: one.macs(10))
    outlook = outlook_of([drawn])
    small, large = outlook.plan.job(drawn), outlook.plan.job(trained)
    assert outlook.search_left([], 2) == pytest.approx(2 * small)
    for _ in range(PRIOR):
        outlook.trained(trained)
    assert outlook.search_left([], 2) == pytest.approx(small + large)
    running = [task_of(trained)]
    assert outlook.search_left(running, 2) == pytest.approx(small + large + outlook.left(running[0]))
    assert outlook.search_left(running, 0) == pytest.approx(outlook.left(running[0]))


def test_workers_share_what_is_left(candidates: list[Candidate]) -> None:
    outlook = outlook_of(candidates[:1], workers=2)
    job = outlook.plan.job(candidates[0])
    assert outlook.search_left([], 4) == pytest.approx(2 * job)
    assert outlook.finals_left([task_of(candidates[0])], candidates[:1]) == pytest.approx(job)


def test_what_follows_the_search_is_known_by_the_candidates_so_far(candidates: list[Candidate]) -> None:
    small, large = sorted(candidates[:2], key=lambda one: one.macs(10))
    outlook = outlook_of([small], trials=10, repeat_share=0.2)
    job = outlook.plan.job(small)
    assert outlook.after_search() == pytest.approx(2 * job + job + REPORT_SECONDS)
    for _ in range(PRIOR):
        outlook.trained(large)
    job = outlook.plan.job(large)
    assert outlook.after_search() == pytest.approx(2 * job + job + REPORT_SECONDS)
    assert outlook.finals_seconds() == pytest.approx(job + REPORT_SECONDS)
    assert outlook_of([small], finalists=0).finals_seconds() == REPORT_SECONDS


def test_finalists_are_told_apart_from_trials_of_the_same_number(outlook: Outlook, candidates: list[Candidate]) -> None:
    search, final = task_of(candidates[0]), task_of(candidates[0], phase="final")
    outlook.hear(search, training(candidates[0], 7.9, 100.0))
    assert outlook.left(search) < outlook.left(final)


def test_scoring_a_copy_at_a_rung_is_not_the_end(outlook: Outlook, candidates: list[Candidate]) -> None:
    task = task_of(candidates[0])
    outlook.hear(task, training(candidates[0], 2.0, usual_rate(outlook, candidates[0])))
    before = outlook.left(task)
    outlook.hear(task, Progress("rung"))
    assert outlook.left(task) == before


def test_a_training_that_goes_on_elsewhere_is_not_over_while_it_is_built(
    outlook: Outlook, candidates: list[Candidate]
) -> None:
    """After a pause, or a worker's death, the parts before the training come again."""
    one = candidates[0]
    task = task_of(one)
    outlook.hear(task, training(one, 4.0, usual_rate(outlook, one)))
    before = outlook.left(task)
    for part in ("build", "prune", "emit", "measure", "teach"):
        outlook.hear(task, Progress(part))
        assert outlook.left(task) == pytest.approx(before + BEFORE_TRAINING * outlook.plan.around(one))
    outlook.hear(task, Progress("train"))  # what the checkpoint holds is not trained again
    assert outlook.left(task) == before


def test_all_wait_for_a_teacher(outlook: Outlook, candidates: list[Candidate]) -> None:
    tasks = [task_of(one, number) for number, one in enumerate(candidates)]
    for task in tasks:
        outlook.hear(task, Progress("teach"))
    before = [outlook.left(task) for task in tasks]
    outlook.hear(tasks[0], Progress("teach", "dense", 2.0, 8, 1.0, IMAGES / 10))  # six epochs of ten seconds
    assert [outlook.left(task) for task in tasks] == pytest.approx([seconds + 60 for seconds in before])
    outlook.hear(tasks[1], Progress("train"))
    assert outlook.left(tasks[1]) < before[1]


def test_what_is_made_from_a_finished_network_is_not_trained(outlook: Outlook, candidates: list[Candidate]) -> None:
    task = replace(task_of(candidates[0], phase="reference"), made_from=Path("artifacts"))
    plan = outlook.plan
    for part in ("quantize", "measure", "score"):
        assert outlook.left(task) == plan.around(candidates[0]) + plan.measuring(candidates[0])
        outlook.hear(task, Progress(part))


def test_copies_scored_at_rungs_are_not_around_a_training(outlook: Outlook, candidates: list[Candidate]) -> None:
    one = candidates[0]
    outlook.finished(task_of(one), evaluated(task_of(one), outlook.plan.study, seconds=SECONDS | {"rung": 50.0}))
    assert outlook.plan.around(one) == pytest.approx(2.0)


def test_after_its_hours_no_trial_begins(candidates: list[Candidate]) -> None:
    outlook = outlook_of(candidates[:1])
    job = outlook.plan.job(candidates[0])
    assert outlook.search_left([], 100, within=2.5 * job) == pytest.approx(3.5 * job)
    assert outlook.search_left([], 2, within=100 * job) == pytest.approx(2 * job)
    late = [task_of(candidates[0])]
    assert outlook.search_left(late, 100, within=-1.0) == pytest.approx(outlook.left(late[0]))
    assert outlook.search_left([], 100, within=-1.0) == 0
