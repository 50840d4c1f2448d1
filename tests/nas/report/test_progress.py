"""Hypervolume over trials: equal to computing every prefix by itself, never falling, with the point it names."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from nas.pareto import hypervolume
from nas.report.progress import growing_hypervolume, progress
from nas.report.tables import read_trials


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_growing_equals_every_prefix_computed_from_the_start(objectives):
    points = np.random.default_rng(objectives).integers(0, 9, (30, objectives)) / 10.0
    point = np.ones(objectives)
    each = [hypervolume(points[: i + 1], point) for i in range(len(points))]
    assert growing_hypervolume(points, point) == pytest.approx(each)


def test_two_trials_by_hand():
    trials = pd.DataFrame(
        {"number": [4, 2], "state": "COMPLETE", "flags": "", "accuracy": [0.5, 0.75], "size_bytes": [1000.0, 10_000.0]}
    )
    curve = progress(trials, ["accuracy", "size_bytes"])
    base, decade = 0.5 / 1.1, math.log10(1.1)
    assert curve.trials == (4, 2)
    assert curve.reference_point == pytest.approx({"accuracy": base, "size_bytes": 11_000})
    first = (0.5 - base) * (1 + decade)
    assert curve.values == pytest.approx((first, first + 0.25 * decade))


def test_a_fixed_reference_point_is_used_as_it_is():
    trials = pd.DataFrame(
        {
            "number": [0, 1, 2],
            "state": "COMPLETE",
            "flags": "",
            "accuracy": [0.5, 0.1, 0.75],
            "size_bytes": [1e3, 1e3, 1e4],
        }
    )
    fixed = {"accuracy": 0.25, "size_bytes": 5_000.0}
    curve = progress(trials, ["accuracy", "size_bytes"], fixed)
    assert curve.reference_point == fixed
    # The second trial lies beyond the point in accuracy, the third in size: neither adds anything.
    assert curve.values == pytest.approx([0.25 * math.log10(5)] * 3)


def test_it_never_falls_and_counts_complete_trials_only(make_run):
    run = make_run(trials=60)
    curve = progress(read_trials(run.path), run.study.objectives)
    assert curve.trials == tuple(row["number"] for row in run.state("COMPLETE"))
    assert all(a <= b for a, b in itertools.pairwise(curve.values))
    assert 0 < curve.values[0] < curve.values[-1]
    assert curve.reference_point["accuracy"] < min(row["accuracy"] for row in run.state("COMPLETE"))
    assert curve.reference_point["size_bytes"] > max(row["size_bytes"] for row in run.state("COMPLETE"))


def test_nothing_complete_gives_an_empty_curve(make_run):
    run = make_run(trials=0, finalists=0)
    assert progress(read_trials(run.path), ["accuracy", "macs"]).values == ()
    assert progress(read_trials(run.path), ["accuracy", "latency_ms@board"]).values == ()
