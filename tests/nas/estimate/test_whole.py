"""The seconds of a study from those of its parts, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from by_hand import different, make_study
from hypothesis import given
from hypothesis import strategies as st

from nas.candidates.baseline import baseline_candidate
from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates
from nas.estimate import Expected, Line, Plan, Seconds, Speed, estimate, estimate_of, expected_candidates
from nas.estimate.plan import BEFORE_TRAINING
from nas.estimate.whole import ASK_SECONDS, REPORT_SECONDS, after_search, makespan, search_seconds, spread
from nas.study import Study
from nas.study.search import COPY_SHARE

# A second per layer and step, whatever the network computes: a training's seconds are its layers times its steps.
BY_LAYERS = {stage: np.array([1.0, 0.0, 0.0, 0.0, 0.0]) for stage in ("dense", "pruned", "quantized")}
SPEED = Speed(BY_LAYERS, Line(10.0), Line(3.0), start=5.0)
IMAGES = 64  # one step in each epoch


def study_of(*, keys: dict[str, Any] | None = None, **search: Any) -> Study:
    search = {"sampler": "random", "repeat_share": 0.0, "workers": 1, "finalists": 0} | search
    study = make_study(training={"batch_size": 64, "epochs": 8}, **search)
    return Study.model_validate(study.model_dump() | {"baseline": False} | (keys or {}))


def plan_of(study: Study, *candidates: Candidate, **expected: Any) -> Plan:
    fields = {"anchors": (), "share_kept": 1.0, "excluded": 0.0, "excluded_anchors": 0} | expected
    return Plan(study, SPEED, IMAGES, 10, Expected(draws=candidates, **fields))


@pytest.fixture
def one() -> Candidate:
    return different(1)[0]


def test_an_evaluation_trains_and_is_measured_twice(one: Candidate) -> None:
    layers = len(one.layers(10))
    assert plan_of(study_of(), one).training(one, final=False) == 8 * layers
    assert plan_of(study_of(), one).job(one) == 8 * layers + 10 + 2 * 3
    assert plan_of(study_of(workers=4), one).job(one) == 8 * layers + 10 + 2 * 4 * 3  # all four wait meanwhile
    assert plan_of(study_of(workers=4), one).infeasible(one) == BEFORE_TRAINING * 10 + 4 * 3


def test_trials_and_finalists_have_their_own_epochs_and_images(one: Candidate) -> None:
    layers = len(one.layers(10))
    keys = {"finals": {"epochs": 20, "train_images": 128}, "data": {"source": "digits", "train_images": 64}}
    plan = replace(plan_of(study_of(keys=keys, epochs=4), one), train_images=1000)
    assert plan.training(one, final=False) == 4 * layers
    assert plan.training(one, final=True) == 20 * 2 * layers
    fewer = replace(plan, train_images=100, _computed={})
    assert fewer.training(one, final=True) == 20 * 2 * layers  # 64 images and 36
    assert replace(plan, train_images=64, _computed={}).training(one, final=True) == 20 * layers


def test_the_search_is_its_trials_over_its_workers(one: Candidate) -> None:
    job = plan_of(study_of(), one).job(one)
    assert search_seconds(plan_of(study_of(trials=10), one), larger=True) == pytest.approx(10 * job)
    two = plan_of(study_of(trials=10, workers=2), one)
    assert search_seconds(two, larger=True) == pytest.approx(5 * two.job(one))
    asked = plan_of(study_of(trials=10, sampler="pareto", calibration=0), one)
    assert search_seconds(asked, larger=True) == pytest.approx(10 * (job + ASK_SECONDS))


def test_repeats_and_infeasible_candidates_come_on_top(one: Candidate) -> None:
    plan = plan_of(study_of(trials=10, repeat_share=0.25), one, excluded=0.5, excluded_anchors=2)
    assert search_seconds(plan, larger=True) == pytest.approx(12 * plan.job(one) + 7 * plan.infeasible(one))


def test_anchors_are_trained_first_and_count_as_trials() -> None:
    small, large = sorted(different(2), key=lambda candidate: len(candidate.layers(10)))
    plan = plan_of(study_of(trials=3), small, anchors=(large,))
    assert search_seconds(plan, larger=True) == pytest.approx(plan.job(large) + 2 * plan.job(small))
    assert search_seconds(replace(plan, study=study_of(trials=1)), larger=True) == pytest.approx(plan.job(large))


def test_with_rungs_a_trial_carries_those_that_were_stopped_for_it(one: Candidate) -> None:
    plan = plan_of(study_of(trials=1, epochs=8, rungs=(0.25, 0.5)), one)
    training = plan.training(one, final=False)
    begun, passed = 4, 2
    trained = training * (begun * 0.25 + passed * 0.25 + 0.5)
    looks = begun + passed
    expected = trained + looks * (COPY_SHARE * training + 10) + 10 + 2 * 3
    expected += (begun - 1) * (BEFORE_TRAINING * 10 + 3)
    assert search_seconds(plan, larger=True) == pytest.approx(expected)


def test_hours_and_epochs_end_a_search(one: Candidate) -> None:
    job = plan_of(study_of(), one).job(one)
    hours = plan_of(study_of(trials=1000, hours=0.01), one)
    assert search_seconds(hours, larger=True) == pytest.approx(36 + job)
    again = plan_of(study_of(trials=1000, hours=10 * job / 3600, repeat_share=0.25), one)  # of ten trials, not of 1000
    assert search_seconds(again, larger=True) == pytest.approx(10 * job + job + 2 * job)
    epochs = plan_of(study_of(trials=1000, epoch_budget=8 * 4.5), one)
    assert search_seconds(epochs, larger=True) == pytest.approx(4 * job)


def test_finalists_are_spread_over_the_sizes_and_the_longest_begins() -> None:
    ordered = sorted(different(6), key=lambda candidate: candidate.macs(1))
    assert spread(ordered, 3) == [ordered[5], ordered[3], ordered[0]]
    assert spread(ordered, 1) == [ordered[5]]
    assert spread(ordered[:1], 3) == [ordered[0]] * 3
    plan = plan_of(study_of(finalists=3, workers=2, keys={"baseline": True}), *ordered)
    larger = [plan.job(one, final=True) for one in spread(ordered[2:], 3)]
    jobs = [*sorted(larger, reverse=True), plan.job(baseline_candidate(plan.study), final=True)]
    assert after_search(plan, larger=True) == pytest.approx(makespan(jobs, 2))
    assert after_search(plan_of(study_of(finalists=0), *ordered), larger=True) == 0


def test_the_whole_is_the_sum_of_its_ranges() -> None:
    study = make_study(trials=6, finalists=2, workers=2)
    found = estimate(study, SPEED, train_images=IMAGES)
    assert found.search.low < found.search.high
    assert found.finalists.low < found.finalists.high
    assert found.total == Seconds(
        found.search.low + found.finalists.low + REPORT_SECONDS,
        found.search.high + found.finalists.high + REPORT_SECONDS,
    )
    assert found.total.low < found.total.middle < found.total.high
    expected = expected_candidates(study, num_classes=10)
    assert estimate_of(Plan(study, SPEED, IMAGES, 10, expected)) == found
    assert estimate(study, SPEED, train_images=IMAGES, expected=expected) == found


def test_a_teacher_comes_before_the_search(one: Candidate) -> None:
    study = study_of(trials=1)
    training = study.training.model_dump() | {"distillation": {"teacher": "reference"}}
    taught = study_of(trials=1, keys={"training": training})
    seconds = [estimate_of(plan_of(each, one)).search.low for each in (study, taught)]
    assert seconds[0] == pytest.approx(5 + plan_of(study, one).job(one))
    teacher = len(extreme_candidates(study)["largest"].layers(10))
    assert seconds[1] - seconds[0] == pytest.approx(8 * teacher)
    training["distillation"]["architecture"] = "exported"  # a folder: its network is not trained
    assert estimate_of(plan_of(study_of(trials=1, keys={"training": training}), one)).search.low == seconds[0]


def test_finalists_wait_for_a_teacher_of_their_own(one: Candidate) -> None:
    def seconds(**finals: Any) -> float:
        return after_search(plan_of(study_of(finalists=1, keys={"finals": finals}), one), larger=True)

    largest = len(extreme_candidates(study_of())["largest"].layers(10))
    assert seconds(teacher="reference") - seconds() == pytest.approx(8 * largest)
    assert seconds(teacher="reference", epochs=16) - seconds(epochs=16) == pytest.approx(16 * largest)
    assert seconds(teacher="self") == seconds(teacher=3) == seconds(teacher="none") == seconds()
    training = {"training": {"epochs": 8, "batch_size": 64, "distillation": {"teacher": "reference"}}}
    shared = after_search(plan_of(study_of(finalists=1, keys=training), one), larger=True)
    assert shared == seconds()  # the search's teacher is theirs


@given(st.lists(st.floats(0, 100), max_size=12), st.integers(1, 4))
def test_a_makespan_lies_between_its_bounds(jobs: list[float], workers: int) -> None:
    found = makespan(jobs, workers)
    longest, whole = max(jobs, default=0.0), sum(jobs)
    assert max(longest, whole / workers) - 1e-9 <= found <= whole / workers + longest + 1e-9
    assert makespan(jobs, 1) == pytest.approx(whole)


def test_a_makespan_by_hand() -> None:
    assert makespan([5, 4, 3, 3], 2) == 8  # 5 and 3, 4 and 3
    assert makespan([3, 3, 4, 5], 2) == 8
    assert makespan([4], 2, busy=[3.0, 1.0]) == 5
    assert makespan([], 2, busy=[3.0]) == 3
