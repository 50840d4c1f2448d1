"""Fits recover rates that made the times, and keep to the usual ratios where the times do not tell."""

from __future__ import annotations

import numpy as np
import pytest

from compressors.steps import stage_names
from nas.estimate.speed import USUAL, Line, Speed, Timed, fitted

RANDOM = np.random.default_rng(0)


def random_rows(count: int) -> list[np.ndarray]:
    """Like networks of all sizes: each term over two orders of magnitude."""
    scale = 1 / USUAL["dense"]
    return [scale * 10 ** RANDOM.uniform(-1, 1, len(scale)) for _ in range(count)]


def test_times_of_the_usual_ratios_are_met_exactly() -> None:
    """A machine three times slower, from two networks."""
    times = [Timed("dense", row, 3 * float(row @ USUAL["dense"])) for row in random_rows(2)]
    found = fitted(times)
    assert found["dense"] == pytest.approx(3 * USUAL["dense"])
    assert found["pruned"] == pytest.approx(3 * USUAL["pruned"])  # as much slower as what was timed
    assert found["quantized"] == pytest.approx(3 * USUAL["quantized"])


def test_each_stage_has_its_own_rates() -> None:
    row = random_rows(1)[0]
    found = fitted([Timed("dense", row, 2 * float(row @ USUAL["dense"])), Timed("quantized", row, 8 * float(row @ USUAL["quantized"]))])  # fmt: skip  # noqa: E501
    assert found["dense"] == pytest.approx(2 * USUAL["dense"])
    assert found["quantized"] == pytest.approx(8 * USUAL["quantized"])
    assert found["pruned"] == pytest.approx(4 * USUAL["pruned"])  # the geometric mean


def test_other_ratios_are_learned_from_enough_times() -> None:
    true = USUAL["dense"] * [0.5, 3.0, 1.0, 2.0, 0.3]
    times = [Timed("dense", row, float(row @ true)) for row in random_rows(40)]
    found = fitted(times)["dense"]
    assert found == pytest.approx(true, rel=0.15)
    assert (found >= 0).all()


def test_three_networks_are_met_closely_whatever_the_ratios() -> None:
    """The kinds of arithmetic cannot be told apart by three times; their sums can be met."""
    true = USUAL["dense"] * [4.0, 1.0, 0.2, 1.0, 1.0]
    rows = random_rows(3)
    found = fitted([Timed("dense", row, float(row @ true)) for row in rows])["dense"]
    for row in rows:
        assert float(row @ found) == pytest.approx(float(row @ true), rel=0.1)


def test_nothing_timed_is_the_usual_speed() -> None:
    assert {stage: rates.tolist() for stage, rates in fitted(()).items()} == {
        stage: rates.tolist() for stage, rates in USUAL.items()
    }


def test_a_line_through_points_has_no_negative_part() -> None:
    line = Line.through([(0.0, 2.0), (100.0, 3.0), (200.0, 4.0)])
    assert (line.fixed, line.per_mac) == (pytest.approx(2.0), pytest.approx(0.01))
    assert line.at(1000) == pytest.approx(12.0)
    falling = Line.through([(0.0, 4.0), (100.0, 2.0)])
    assert (falling.fixed, falling.per_mac) == (pytest.approx(3.0), 0.0)
    assert Line.through([(50.0, 1.5)]).at(50) == pytest.approx(1.5)


def test_a_stage_that_is_not_known_has_the_rates_of_the_last() -> None:
    rates = {stage: np.full(5, factor) for stage, factor in (("dense", 1.0), ("pruned", 2.0), ("quantized", 4.0))}
    speed = Speed(rates, Line(0.0), Line(0.0))
    one = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    assert speed.seconds({"dense": one, "pruned": 2 * one, "further": one}) == 1 + 4 + 4


def test_every_stage_that_was_timed_has_rates_of_its_own() -> None:
    """Until then it takes as long as other stages of floats."""
    row = random_rows(1)[0]
    for stage in stage_names():
        found = fitted([Timed(stage, row, 5 * float(row @ USUAL[stage])), Timed("dense", row, float(row @ USUAL["dense"]))])  # fmt: skip  # noqa: E501
        if stage != "dense":
            assert found[stage] == pytest.approx(5 * USUAL[stage])
    assert all((USUAL[stage] == USUAL["dense"]).all() for stage in stage_names() if stage != "quantized")
