"""Probabilities of being on the front: closed forms of two and three networks, brute force, what never changes them."""

from __future__ import annotations

from math import erf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nas.on_front
from nas.on_front import LATENCY_SD, UNSTABLE_LATENCY_SD, least_errors, probabilities, probabilities_on_front
from nas.pareto import non_dominated
from nas.records import UNSTABLE

TWO = ("accuracy", "size_bytes")


def phi(z: float) -> float:
    return (1 + erf(z / sqrt(2))) / 2


def probability(values: list[list[float]], objectives: tuple[str, ...] = TWO, **given: object) -> list[float]:
    some: dict[str, object] = {
        "accuracies": [row[0] for row in values],
        "accuracy_ses": [0.02] * len(values),
        "flags": [()] * len(values),
    }
    return probabilities_on_front(values, objectives, **{**some, **given}).tolist()  # type: ignore[arg-type]


def test_of_two_networks_the_larger_is_on_the_front_where_it_is_more_accurate() -> None:
    ahead = probability([[0.9, 200], [0.88, 100]])
    assert ahead == [pytest.approx(phi(0.02 / sqrt(2 * 0.02**2)), abs=0.03), 1]
    assert probability([[0.9, 200], [0.9, 100]])[0] == pytest.approx(0.5, abs=0.03)


def test_two_latencies() -> None:
    values, names = [[0.5, 0.101], [0.5, 0.100]], ("parameters", "latency_ms")
    for flags, sd in (((), LATENCY_SD), ((UNSTABLE,), UNSTABLE_LATENCY_SD)):
        found = probability(values, names, flags=[flags, flags])
        slower = phi(-np.log(1.01) / (sqrt(2) * sd))
        assert found == [pytest.approx(slower, abs=0.03), pytest.approx(1 - slower, abs=0.03)]


def test_another_targets_latency_is_as_uncertain() -> None:
    assert 0.4 < probability([[0.1], [0.1]], ("latency_ms@board",))[0] < 0.6


def test_the_most_accurate_of_three_alike() -> None:
    assert probability([[0.8]] * 3, ("accuracy",)) == pytest.approx([1 / 3] * 3, abs=0.03)


def test_a_network_that_no_chance_helps_is_not_on_the_front() -> None:
    assert probability([[0.9, 100], [0.5, 101], [0.49, 99]]) == [1, 0, 1]


def test_what_is_exact_is_on_the_front_or_not() -> None:
    values = [[1.0, 5.0], [2.0, 3.0], [2.0, 4.0], [1.0, 5.0]]
    assert probability(values, ("parameters", "macs")) == [1, 1, 0, 1]


def test_no_network_no_probability() -> None:
    assert probability([]) == []


def test_repeats_move_the_mean_and_make_it_surer() -> None:
    values = [[0.95, 200.0], [0.90, 100.0]]
    lucky = probability(values)[0]
    again = probability(values, repeats=[[{"accuracy": 0.89}, {"accuracy": 0.89}], []])
    assert again[0] < lucky
    # The mean is 0.91; between seeds 0.06^2 * 2 / 3 / 2 = 0.0012, a third of it for three seeds.
    sd = sqrt(2 * 0.02**2 + 0.0012 / 3 + 0.0012)
    assert again[0] == pytest.approx(phi(0.01 / sd), abs=0.03)


def test_every_answer_right_is_not_sure() -> None:
    errors = least_errors([1.0, 0.9, None], [0.0, 0.03, None])  # a hundred images
    assert errors.tolist() == pytest.approx([sqrt(0.5) / 100, 0.03, sqrt(0.5) / 100])
    assert least_errors([1.0], [0.0]).tolist() == [0]
    beside = probability([[1.0, 200], [0.99, 100]], accuracy_ses=[0.0, sqrt(0.99 * 0.01 / 100)])
    assert 0.7 < beside[0] < 0.9


points = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=8)
shares = st.lists(st.sampled_from([0.0, 0.5, 2.0]), min_size=3, max_size=3)


@given(points, shares)
def test_equal_to_drawing_whole_fronts(found: list[tuple[int, int, int]], sds: list[float]) -> None:
    """Brute force: every network is drawn, also those that are surely dominated, and every front is made."""
    array = np.array(found, dtype=np.float64)
    deviations = np.tile(sds, (len(array), 1))
    quick = probabilities(array, deviations, seed=0)
    random = np.random.default_rng(1)
    drawn = array + deviations * random.standard_normal((500, *array.shape))
    slow = np.mean([non_dominated(one) for one in drawn], axis=0)
    assert np.abs(quick - slow).max() < 0.12
    assert np.array_equal(quick, probabilities(array, deviations, seed=0))


def test_of_what_is_called_likely_as_much_is_true() -> None:
    """Networks whose true errors are known: of the members of noisy fronts, as many are on the true front as said."""
    random = np.random.default_rng(0)
    said, true = [], []
    for _ in range(80):
        sizes = random.uniform(4, 5, 24)
        errors = 0.03 * (6 - sizes) + random.normal(0, 0.012, 24)
        seen = np.column_stack([errors + random.normal(0, 0.009, 24), sizes])
        members = non_dominated(seen)
        said += probabilities(seen, np.tile([0.009, 0.0], (24, 1)), seed=0, draws=400)[members].tolist()
        true += non_dominated(np.column_stack([errors, sizes]))[members].tolist()
    likely = np.array(said) > np.median(said)
    for half in (likely, ~likely):
        assert np.mean(np.array(true)[half]) == pytest.approx(np.mean(np.array(said)[half]), abs=0.08)


def test_many_points_are_compared_another_way_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    points, deviations = random.random((60, 3)), np.tile([0.05, 0.0, 0.02], (60, 1))
    in_pairs = probabilities(points, deviations, seed=1, draws=400)
    monkeypatch.setattr(nas.on_front, "MOST_PAIRED", 0)
    assert probabilities(points, deviations, seed=1, draws=400).tolist() == in_pairs.tolist()
    assert 0 < in_pairs[in_pairs > 0].min() < 1


def test_of_many_points_those_that_win_now_and_then_are_counted_in_every_draw() -> None:
    """More than are compared in pairs: as often as when each draw is taken by itself, but for the rarest."""
    random = np.random.default_rng(1)
    points = np.stack([random.random(700), random.random(700)], axis=1)
    deviations = np.full_like(points, 0.1)
    found = probabilities(points, deviations, seed=3)
    noise = np.random.default_rng(3).standard_normal((400, 700, 2))
    direct = np.mean([non_dominated(points + deviations * one) for one in noise], axis=0)
    assert np.abs(found - direct).max() < 0.03
    assert np.corrcoef(found, direct)[0, 1] > 0.99
