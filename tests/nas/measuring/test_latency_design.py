"""The order in which candidates are measured for the latency model."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import make_study
from synthetic_machine import CLASSES, drawn

from nas.measuring.latency_design import BEFORE_DATA, design, most_telling
from nas.measuring.latency_regression import NOMINAL_MS, Samples
from nas.measuring.latency_similarity import similarities
from nas.measuring.latency_terms import work_of


def joint_covariance() -> np.ndarray:
    """What the model holds of 30 candidates before data."""
    samples = Samples.of([work_of(candidate, CLASSES) for candidate in drawn(30)], np.ones(30))
    slopes = samples.units * NOMINAL_MS / (samples.units @ NOMINAL_MS)[:, None]
    alike = similarities(samples.kernels, samples.kernels, BEFORE_DATA.reach)
    additive: np.ndarray = BEFORE_DATA.spread**2 * slopes @ slopes.T
    return additive + BEFORE_DATA.correction**2 * samples.correlated(NOMINAL_MS, alike)


def remaining(joint: np.ndarray, chosen: list[int]) -> float:
    """The summed variance of all once some are measured."""
    noisy = joint[np.ix_(chosen, chosen)] + BEFORE_DATA.noise**2 * np.eye(len(chosen))
    return float(np.trace(joint - joint[:, chosen] @ np.linalg.solve(noisy, joint[chosen])))


def test_each_next_one_leaves_the_least_variance() -> None:
    joint = joint_covariance()
    order = most_telling([work_of(candidate, CLASSES) for candidate in drawn(30)], 5)
    assert len(set(order)) == 5
    for count in range(5):
        left = {other: remaining(joint, [*order[:count], other]) for other in set(range(30)) - set(order[:count])}
        assert left[order[count]] == pytest.approx(min(left.values()))


def test_a_design_is_the_same_every_time_and_holds_each_structure_once() -> None:
    study = make_study()
    first, again = (design(study, CLASSES, 20) for _ in range(2))
    assert [candidate.id for candidate in first] == [candidate.id for candidate in again]
    assert len({candidate.structure_id(CLASSES) for candidate in first}) == len(first)
