"""Promotion against brute force, and plain Optuna studies that stop trials early."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.study import StudyDirection
from optuna.trial import TrialState

from nas.pareto import hypervolume, non_dominated
from nas.samplers.halving import RUNGS, Halving, best, places, promotable, rung_values, with_rung

Rows = list[tuple[int, ...]]


@st.composite
def grids(draw: st.DrawFn, min_size: int = 0) -> np.ndarray:
    m = draw(st.integers(1, 4))
    rows = draw(st.lists(st.tuples(*[st.integers(0, 4)] * m), min_size=min_size, max_size=9))
    return np.array(rows, dtype=float).reshape(len(rows), m)


def dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a <= b).all() and (a < b).any())


@given(grids(), st.integers(0, 9))
def test_the_best_never_stand_behind_what_they_dominate(points: np.ndarray, count: int) -> None:
    order = best(points, count)
    assert len(order) == len(set(order)) == min(count, len(points))
    left_out = [i for i in range(len(points)) if i not in order]
    for place, index in enumerate(order):
        assert not any(dominates(points[other], points[index]) for other in [*order[place + 1 :], *left_out])


@given(grids(min_size=1), st.floats(0.05, 0.95), st.sets(st.integers(0, 8)))
def test_nothing_is_promoted_past_what_dominates_it(points: np.ndarray, share: float, passed: set[int]) -> None:
    passed &= set(range(len(points)))
    free = promotable(points, passed, share)
    assert len(free) == min(max(0, places(len(points), share) - len(passed)), len(points) - len(passed))
    for place, index in enumerate(free):
        assert index not in passed
        better = {other for other in range(len(points)) if dominates(points[other], points[index])}
        assert better <= passed | set(free[:place])


@given(grids(min_size=1), st.randoms(use_true_random=False))
def test_whole_fronts_go_first_whatever_the_order(points: np.ndarray, random: Any) -> None:
    first = np.flatnonzero(non_dominated(points))
    assert set(best(points, len(first))) == set(first)
    mixed = random.sample(range(len(points)), len(points))
    assert {mixed[i] for i in best(points[mixed], len(first))} == set(first)


def test_within_a_front_the_gain_in_hypervolume_decides() -> None:
    points = np.array([[0, 1], [0.1, 0.5], [0.11, 0.49], [1, 0]])
    corner = [1.05, 1.05]
    gains = [hypervolume(points[[i]], corner) for i in range(4)]
    first = int(np.argmax(gains))
    assert best(points, 1) == [first]
    pairs = {i: hypervolume(points[[first, i]], corner) for i in range(4) if i != first}
    assert best(points, 2) == [first, max(pairs, key=pairs.__getitem__)]
    assert set(best(points, 3)) >= {0, 3}, "one of two that are nearly the same is enough"


def test_what_is_like_one_that_has_passed_goes_last() -> None:
    points = np.array([[0.4, 0.4], [0.41, 0.39], [0, 1.0], [1.0, 0]])
    assert promotable(points, {0}, 1.0)[-1] == 1
    assert promotable(points, {0}, 0.5)[0] in (2, 3)
    assert promotable(points, {0, 1}, 0.5) == []


@given(grids(min_size=2), st.lists(st.sampled_from([0.5, 3.0, 200.0]), min_size=4, max_size=4))
def test_units_do_not_matter(points: np.ndarray, factors: list[float]) -> None:
    """Powers of two leave every comparison exact; others could break ties differently."""
    scaled = points * np.array([2.0 ** round(math.log2(factor)) for factor in factors[: points.shape[1]]])
    assert best(scaled, len(points)) == best(points, len(points))


def test_broken_constraints_stand_behind_all_others() -> None:
    points = np.array([[0.0, 0.0], [2.0, 2.0], [3.0, 3.0], [1.0, 1.0]])
    assert best(points, 4, [0.5, 0.0, 0.0, 0.25]) == [1, 2, 3, 0]


def test_places_are_rounded_down_and_a_third_of_three_is_one() -> None:
    assert [places(n, 1 / 3) for n in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    assert [places(n, 0.25 / 0.5) for n in range(5)] == [0, 0, 1, 1, 2]


def test_shares_kept_give_every_rung_the_same_budget() -> None:
    halving = Halving([0.1, 0.25, 0.5])
    kept = [halving.share_kept(rung) for rung in halving.rungs]
    assert kept == pytest.approx([0.4, 0.5, 0.5])
    assert [math.prod(kept[:i]) * end for i, end in enumerate([0.1, 0.25, 0.5, 1])] == pytest.approx([0.1] * 4)


@pytest.mark.parametrize("brackets", [1, 2, 3])
def test_brackets_cost_the_same(brackets: int) -> None:
    halving = Halving([0.25, 0.5], brackets)
    cost = {0: 0.25 + 0.5 * 0.25 + 0.25 * 0.5, 1: 0.5 + 0.5 * 0.5, 2: 1.0}
    counts = Counter(map(halving.bracket_of, range(3000)))
    assert set(counts) == set(range(brackets))
    spent = [counts[b] * cost[b] for b in range(brackets)]
    assert spent == pytest.approx([np.mean(spent)] * brackets, rel=0.01)
    assert {halving.rungs_of(n) for n in range(20)} == {(0.25, 0.5)[b:] for b in range(brackets)}
    for start in range(50):  # any run of numbers holds nearly its proportion
        few = Counter(map(halving.bracket_of, range(start, start + 21)))
        assert all(abs(few[b] - 21 * counts[b] / 3000) < 2 for b in range(brackets))


@pytest.mark.parametrize("brackets", [1, 2, 3])
def test_the_load_of_a_trial_that_ends_is_that_of_a_thousand(brackets: int) -> None:
    """Counted over many trials, each of which goes on from a rung as the shares say."""
    halving = Halving([0.25, 0.5], brackets)
    begun, ends, epochs, looks = 4000, 0.0, 0.0, 0.0
    for number in range(begun):
        alive, done = 1.0, 0.0
        for rung in halving.rungs_of(number):
            epochs, looks, done = epochs + alive * (rung - done), looks + alive, rung
            alive *= halving.share_kept(rung)
        ends, epochs = ends + alive, epochs + alive * (1 - done)
    load = halving.load()
    assert (load.trainings, load.begun, load.looks) == pytest.approx(
        (epochs / ends, begun / ends, looks / ends), rel=0.01
    )
    assert brackets > 1 or load.trainings == 2.0


@pytest.mark.parametrize("rungs", [[], [0.0, 0.5], [0.5, 0.5], [0.5, 0.25], [0.5, 1.0], [math.nan]])
def test_rungs_must_rise(rungs: list[float]) -> None:
    with pytest.raises(ValueError, match="rungs: expected rising shares between 0 and 1, got"):
        Halving(rungs)


def test_there_are_no_more_brackets_than_rungs_and_one() -> None:
    with pytest.raises(ValueError, match="brackets: expected 1 to 2 for these rungs, got 3"):
        Halving([0.5], brackets=3)


def study_of(trials: list[tuple[float, float]]) -> optuna.Study:
    """Trials that all have reached rung 0.25 and run on."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    for values in trials:
        study.ask().set_user_attr(RUNGS, {"0.25": list(values)})
    return study


def goes_on(halving: Halving, study: optuna.Study, rung: float, values: tuple[float, float]) -> bool:
    trial = study.ask()
    try:
        halving.step(trial, rung, values)
    except optuna.TrialPruned:
        return False
    finally:
        assert rung_values(trial)[rung] == list(values)
    return True


def test_the_better_share_goes_on() -> None:
    halving = Halving([0.25, 0.5])
    assert goes_on(halving, study_of([]), 0.25, (0.1, 9)), "the first has nobody to be compared with"
    others = [(0.9, 5.0), (0.8, 4.0), (0.7, 3.0)]
    assert goes_on(halving, study_of(others), 0.25, (0.95, 2.0))
    assert not goes_on(halving, study_of(others), 0.25, (0.5, 6.0))
    assert goes_on(halving, study_of(others), 0.5, (0.5, 6.0)), "nobody has been at the next rung"
    trial = study_of(others).ask()
    with pytest.raises(optuna.TrialPruned, match=r"rung 0.25: not among the best 2 of 4 trials"):
        halving.step(trial, 0.25, (0.5, 6.0))


def test_points_are_minimised_and_costs_by_ratio_where_the_scale_says_so() -> None:
    values, directions = [(0.9, 1000.0), (0.0, 1.0)], [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    assert Halving([0.5]).points(values, directions).tolist() == [[-0.9, 1000], [0, 1]]
    by_ratio = Halving([0.5], scales=["linear", "log"]).points(values, directions)
    assert by_ratio == pytest.approx(np.array([[-0.9, math.log(1000)], [0, 0]]))


def test_other_rungs_and_values_are_refused() -> None:
    halving, trial = Halving([0.25]), study_of([]).ask()
    with pytest.raises(ValueError, match=r"rung: expected one of \[0.25\], got 0.3"):
        halving.step(trial, 0.3, (0.5, 1.0))
    wanted = r"values at rung 0.25: expected 2 finite values, one for each objective, got "
    with pytest.raises(ValueError, match=wanted + r"\[0.5\]"):
        halving.step(trial, 0.25, [0.5])
    with pytest.raises(ValueError, match=wanted + "0.5"):
        halving.step(trial, 0.25, 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=wanted + r"\['best', 1.0\]"):
        halving.step(trial, 0.25, ["best", 1.0])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=wanted + r"\(nan, 1.0\)|got \[nan, 1.0\]"):
        halving.step(trial, 0.25, [math.nan, 1.0])
    assert rung_values(trial) == {}


def test_a_trial_is_compared_within_its_bracket() -> None:
    halving = Halving([0.25, 0.5], brackets=3)
    study = optuna.create_study(directions=["maximize", "minimize"])
    stopped = []
    for number in range(40):
        trial = study.ask()
        for rung in halving.rungs:
            try:
                halving.step(trial, rung, (1 - number / 100, number))  # each worse than all before it
            except optuna.TrialPruned:
                stopped.append((halving.bracket_of(number), rung))
                break
    first_of_bracket = 3
    assert len(stopped) + first_of_bracket + Counter(map(halving.bracket_of, range(40)))[2] - 1 == 40
    assert set(stopped) == {(0, 0.25), (1, 0.5)}


def test_broken_constraints_count_behind_in_a_study() -> None:
    study = study_of([(0.5, 5.0), (0.4, 6.0), (0.3, 7.0)])
    trial = study.ask()
    trial.set_constraint("bytes", 1.0)
    with pytest.raises(optuna.TrialPruned):
        Halving([0.25, 0.5]).step(trial, 0.25, (0.99, 1.0))


def test_a_whole_study_stops_early_and_finds_the_front() -> None:
    """Values that grow toward those of the end: trials that end are the better part, and what is stopped is told so."""
    halving = Halving([0.25, 0.5])

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        quality, size = trial.suggest_float("quality", 0, 1), trial.suggest_float("size", 0, 1)
        for rung in halving.rungs:
            halving.step(trial, rung, (quality * rung, size))
        return quality, size

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=60)
    complete, pruned = (study.get_trials(states=(state,)) for state in (TrialState.COMPLETE, TrialState.PRUNED))
    assert len(complete) + len(pruned) == 60
    assert 15 <= len(complete) <= 30
    assert all(trial.values is None and set(rung_values(trial)) <= {0.25, 0.5} for trial in pruned)
    ends = np.array([(-t.params["quality"], t.params["size"]) for t in study.trials])
    front = set(np.flatnonzero(non_dominated(ends)))
    assert len(front & {trial.number for trial in complete}) >= 0.7 * len(front)


def test_values_of_rungs_are_kept_in_plain_json() -> None:
    trial = study_of([]).ask()
    trial.set_user_attr(RUNGS, with_rung(trial, 0.25, (np.float64(0.5), 3)))
    trial.set_user_attr(RUNGS, with_rung(trial, 0.5, (0.6, 3)))
    assert trial.user_attrs[RUNGS] == {"0.25": [0.5, 3.0], "0.5": [0.6, 3.0]}
    assert all(type(v) is float for v in itertools.chain(*trial.user_attrs[RUNGS].values()))
    assert rung_values(trial) == {0.25: [0.5, 3.0], 0.5: [0.6, 3.0]}


def test_there_is_one_scale_for_each_objective() -> None:
    with pytest.raises(ValueError, match=r"scales: expected linear or log for each objective, got \['ln', 'log'\]"):
        Halving([0.5], scales=["ln", "log"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="scales: expected 2, one for each objective, got"):
        Halving([0.5], scales=["log"]).points([(0.9, 1.0)], study_of([]).directions)
