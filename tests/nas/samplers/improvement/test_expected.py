"""Expected hypervolume improvement against brute force, quadrature and Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from nas.pareto import hypervolume
from nas.samplers.improvement.attainment import Attainment
from nas.samplers.improvement.expected import expected_improvement, expected_margin, probability_feasible

SIDE = 5
Floats = np.ndarray


@st.composite
def problems(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """A front and candidates on a grid, in 1 to 5 objectives; some of both beyond the reference point."""
    m = draw(st.integers(1, 5))
    rows = st.lists(st.tuples(*[st.integers(0, SIDE + 1)] * m), min_size=1, max_size=7)
    front, candidates = draw(rows), draw(rows)
    return np.array(front, dtype=float) / SIDE, np.array(candidates, dtype=float) / SIDE


def improvement(front: Floats, candidate: Floats) -> float:
    one = np.ones(front.shape[1])
    return hypervolume(np.vstack([front, candidate]), one) - hypervolume(front, one)


@given(problems(), st.integers(1, 5), st.sampled_from([None, 0.05, 1.0]))
def test_without_spread_it_is_the_improvement(
    problem: tuple[Floats, Floats], learned: int, offset: float | None
) -> None:
    """However many of the objectives are called learned."""
    front, candidates = problem
    learned = min(learned, front.shape[1])
    mean = candidates[:, :learned] if offset is None else np.log(candidates[:, :learned] + offset)
    found = expected_improvement(front, candidates[:, learned:], mean, np.zeros_like(mean), offset=offset)
    expected = [improvement(front, candidate) for candidate in candidates]
    assert found == pytest.approx(expected, abs=1e-13)


def random_front(m: int, *, objectives: int, seed: int) -> Floats:
    direction = np.abs(np.random.default_rng(seed).normal(size=(m, objectives)))
    return 1 - 0.8 * direction / np.linalg.norm(direction, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("learned", "exact", "offset"),
    [(1, 0, None), (1, 2, 0.05), (1, 3, None), (2, 0, [0.05, None]), (2, 1, 0.1), (3, 1, [None, 0.2, None])],
)
def test_it_is_the_mean_over_draws(learned: int, exact: int, offset: float | list[float | None] | None) -> None:
    random = np.random.default_rng(learned + 10 * exact)
    front = random_front(10, objectives=learned + exact, seed=exact)
    offsets = offset if isinstance(offset, list) else [offset] * learned
    values, costs, sd = random.uniform(0.3, 0.7, learned), random.uniform(0.3, 0.6, exact), np.full(learned, 0.2)
    mean = np.array([x if d is None else np.log(x + d) for x, d in zip(values, offsets, strict=True)])
    draws = mean + sd * random.normal(size=(1500, learned))
    for i, d in enumerate(offsets):
        draws[:, i] = draws[:, i] if d is None else np.exp(draws[:, i]) - d
    gains = [improvement(front, np.append(draw, costs)) for draw in draws]
    found = expected_improvement(front, costs[None], mean[None], sd[None], offset=offset)
    assert found[0] > 0
    assert abs(found[0] - np.mean(gains)) < 4 * np.std(gains) / len(gains) ** 0.5


@given(problems(), st.floats(0.01, 1), st.integers(0, 4))
def test_a_stretched_objective_stretches_it(problem: tuple[Floats, Floats], factor: float, which: int) -> None:
    front, candidates = problem
    which %= front.shape[1]
    sd = np.full(len(candidates), 0.3)
    before = expected_improvement(front, candidates[:, 1:], candidates[:, 0], sd, offset=None)
    for points in (front, candidates):
        points[:, which] = 1 - factor * (1 - points[:, which])
    sd = sd * (factor if which == 0 else 1.0)
    after = expected_improvement(front, candidates[:, 1:], candidates[:, 0], sd, offset=None)
    assert after == pytest.approx(factor * before, abs=1e-12)


@given(problems(), st.sampled_from([None, 0.05]))
def test_a_richer_front_and_dearer_candidates_leave_less(problem: tuple[Floats, Floats], offset: float | None) -> None:
    front, candidates = problem
    mean, sd = candidates[:, 0] - 0.5, np.full(len(candidates), 0.4)
    whole = expected_improvement(front, candidates[:, 1:], mean, sd, offset=offset)
    assert (whole >= 0).all()
    assert (whole <= expected_improvement(front[1:], candidates[:, 1:], mean, sd, offset=offset) + 1e-13).all()
    assert (whole >= expected_improvement(front, candidates[:, 1:] + 0.1, mean, sd, offset=offset) - 1e-13).all()


def test_candidates_are_independent_of_their_neighbours() -> None:
    random, front = np.random.default_rng(0), random_front(20, objectives=3, seed=0)
    costs, mean, sd = random.random((150, 2)), random.random(150), random.random(150)
    together = expected_improvement(front, costs, mean, sd, offset=None)
    attained = Attainment.of(front)
    for i in (0, 63, 64, 149):
        alone = expected_improvement(attained, costs[[i]], mean[[i]], sd[[i]], offset=None)
        assert together[i] == pytest.approx(alone[0], rel=1e-12)


@pytest.mark.parametrize("offset", [None, 0.05])
@pytest.mark.parametrize(("mean", "sd"), [(0.2, 0.5), (-1.0, 0.1), (0.9, 2.0), (-3.0, 3.0)])
def test_the_expected_margin_is_an_integral(offset: float | None, mean: float, sd: float) -> None:
    def value(z: float) -> float:
        x = mean + sd * z
        return x if offset is None else float(np.exp(x)) - offset

    for threshold in (-0.02, 0.4, 1.0):
        expected, _ = quad(
            lambda z, t=threshold: norm.pdf(z) * max(0.0, t - value(z)), -12, 12, limit=500, epsabs=1e-12
        )
        found = expected_margin(np.array([threshold]), np.array([mean]), np.array([sd]), offset=offset)
        assert found[0, 0] == pytest.approx(expected, abs=1e-8)


def test_extremes_stay_numbers() -> None:
    thresholds, mean = np.array([-np.inf, -1.0, 0.0, 1.0]), np.array([-1e6, -50.0, 0.0, 50.0, 1e6])
    for sd in (0.0, 1e-300, 1e-3, 30.0, 1e6):
        for offset in (None, 0.0, 0.05):
            found = expected_margin(thresholds, mean, np.full(5, sd), offset=offset)
            assert np.isfinite(found).all()
            assert (np.diff(found, axis=0) >= 0).all()
            assert (found[0] == 0).all()


def test_constraints_hold_together() -> None:
    mean, sd = [[0.0, -1.0], [-1.0, 0.0], [1e-9, -5.0], [-1.0, -2.0]], [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 2.0]]
    expected = [0.5, 1.0, 0.0, norm.cdf(1.0) ** 2]
    assert probability_feasible(mean, sd) == pytest.approx(expected)
    assert probability_feasible(np.empty((2, 0)), np.empty((2, 0))).tolist() == [1.0, 1.0]


def test_shapes_that_disagree_are_refused() -> None:
    front = np.zeros((1, 3))
    with pytest.raises(ValueError, match="expected 3 objectives of equally many candidates"):
        expected_improvement(front, np.zeros((2, 1)), np.zeros(2), np.ones(2), offset=None)
    with pytest.raises(ValueError, match="expected 3 objectives of equally many candidates"):
        expected_improvement(front, np.zeros((2, 2)), np.zeros(3), np.ones(3), offset=None)
    with pytest.raises(ValueError, match="offset: expected 1 values, got 2"):
        expected_improvement(front, np.zeros((2, 2)), np.zeros(2), np.ones(2), offset=[None, 0.1])
    with pytest.raises(ValueError, match="columns"):
        probability_feasible(0.0, 1.0)
