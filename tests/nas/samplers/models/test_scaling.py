"""The box: what is given holds, what is inferred holds the front."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.study import StudyDirection

from nas.samplers.models.scaling import box_of, leading
from nas.samplers.spaces.problem import Objectives

LESS, MORE = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE
NAN = float("nan")


def objectives(*directions: StudyDirection, scales: Any = None) -> Objectives:
    return Objectives.of(directions, scales)


TOLD = np.array([[0.9, 1000.0], [0.6, 100.0], [0.5, 400.0]])
SAMPLE = np.array([[NAN, cost] for cost in np.linspace(50, 2000, 40)])


def test_inferred_from_front_and_sample() -> None:
    ours = objectives(MORE, LESS, scales=["linear", "log"])
    box = box_of(TOLD, SAMPLE, None, ours)
    assert box.natural.tolist() == [True, False]  # an accuracy ends at 1
    assert box.ideal == pytest.approx([-1.0, np.log(50)])
    assert box.reference[0] == pytest.approx(-0.6 + 0.1 * 0.3)
    assert box.reference[1] == pytest.approx(np.percentile(np.log(SAMPLE[:, 1]), 99))
    scaled = box.scaled(ours.minimised(TOLD))
    assert (scaled[:2] < 1).all()
    assert scaled[2, 0] > 1


def test_what_is_given_holds() -> None:
    box = box_of(TOLD, SAMPLE, [0.4, None], objectives(MORE, LESS))
    assert box.reference[0] == -0.4
    assert box.reference[1] == pytest.approx(np.percentile(SAMPLE[:, 1], 99))
    with pytest.raises(ValueError, match="reference_point: expected 2 entries"):
        box_of(TOLD, SAMPLE, [0.4], objectives(MORE, LESS))


@pytest.mark.parametrize(
    ("values", "direction", "scale", "natural"),
    [
        ([0.1, 0.3], LESS, "linear", True),  # an error
        ([-0.1, 0.3], LESS, "linear", False),
        ([0.1, 0.3], LESS, "log", False),
        ([70.0, 80.0], MORE, "linear", True),  # per cent
        ([70.0, 180.0], MORE, "linear", False),
    ],
)
def test_natural_ideals(values: list[float], direction: StudyDirection, scale: str, natural: bool) -> None:
    box = box_of(np.array(values)[:, None], np.full((3, 1), NAN), None, objectives(direction, scales=[scale]))
    assert box.natural.tolist() == [natural]


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), max_size=12))
def test_a_box_is_never_empty(values: list[tuple[float, float]]) -> None:
    told = np.array(values, dtype=float).reshape(-1, 2)
    for sample in (np.full((3, 2), NAN), np.array([[NAN, 1.0]] * 3)):
        box = box_of(told, sample, None, objectives(LESS, MORE))
        assert (box.reference > box.ideal).all()
        assert np.isfinite(box.scaled(objectives(LESS, MORE).minimised(told))).all()


def test_parents_lie_inside() -> None:
    points = np.array([[0.2, 0.8], [0.1, 1.2], [0.5, 0.5], [0.6, 0.6], [0.9, 0.1]])
    assert leading(points) == [0, 2, 4]
    assert leading(points + 2) == [0, 1, 2, 3, 4]
    assert leading(np.zeros((0, 2))) == []
