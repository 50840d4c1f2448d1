"""The scale on which objectives are compared, what may stand on a front, and what is feasible."""

from __future__ import annotations

import numpy as np
import pytest

from nas.objectives import (
    as_minimised,
    excesses,
    limits_words,
    may_stand,
    minimised,
    not_run,
    runs_on,
    slacks,
)
from nas.pareto import non_dominated
from nas.records import State


def test_scale_of_fronts() -> None:
    assert as_minimised("accuracy", 0.75) == as_minimised("macro_f1", 0.75) == 0.25
    assert as_minimised("latency_ms", 1.0) == 0.0
    assert as_minimised("latency_ms@ov", [10.0, 1000.0]) == pytest.approx([1, 3])
    assert np.isfinite(as_minimised("macs", 0.0))
    points = minimised([(0.5, p) for p in (10, 20)], ("accuracy", "parameters"))
    assert non_dominated(points).tolist() == [True, False]
    assert minimised([], ("accuracy", "parameters")).shape == (0, 2)


def test_only_complete_evaluations_that_keep_parity_stand_on_a_front() -> None:
    assert [state for state in State if may_stand(state, ())] == [State.COMPLETE]
    assert not may_stand("COMPLETE", ("parity",))
    assert may_stand("COMPLETE", ("unstable",))


def test_what_is_above_its_limit_is_violated_by_its_slack() -> None:
    costs, limits = {"macs": 150.0, "size_bytes": 100.0, "latency_ms": 0.5}, {"macs": 100.0, "size_bytes": 100.0}
    assert slacks(costs, limits) == {"macs": 0.5, "size_bytes": 0.0}
    assert excesses(costs, limits) == {"macs": 0.5}
    assert excesses(costs, {"latency_ms": 1.0}) == slacks(costs, {}) == {}


def test_a_quality_is_violated_below_its_limit_and_what_is_unknown_is_not() -> None:
    limits = {"accuracy": 0.8, "macro_f1": 0.5, "macs": 100.0}
    assert slacks({"accuracy": 0.6, "macs": 100}, limits) == {"accuracy": pytest.approx(0.25), "macs": 0.0}
    assert excesses({"accuracy": 0.8, "macro_f1": 0.25}, limits) == {"macro_f1": 0.5}


@pytest.mark.parametrize(
    ("name", "value", "limit", "words"),
    [
        ("latency_ms", 2.6312, 0.3, "latency_ms 2.63, limit 0.3"),
        ("latency_ms", 0.30004, 0.3, "latency_ms 0.30004, limit 0.3"),
        ("size_bytes", 1234568.0, 1234567.0, "size_bytes 1234568, limit 1234567"),
        ("accuracy", 0.0, 0.9, "accuracy 0, limit 0.9"),
        ("accuracy", 0.8999, 0.9, "accuracy 0.8999, limit 0.9"),
    ],
)
def test_a_broken_limit_is_told_with_what_came(name: str, value: float, limit: float, words: str) -> None:
    assert limits_words([name], {name: value}, {name: limit}) == words


def test_a_latency_that_a_target_does_not_give_is_missed() -> None:
    needed = ("latency_ms@a", "latency_ms@b")
    found = {"latency_ms": 1.0, "latency_ms@a": 2.0}
    assert not_run(found, needed) == {"latency_ms@b": 1.0}
    assert runs_on(found, needed) == {"runs@a": -1.0, "runs@b": 1.0}
    bound = {"parameters": 3.0}  # nothing is measured yet
    assert not_run(bound, needed) == runs_on(bound, needed) == {}
    words = limits_words(["macs", "latency_ms@b"], {"macs": 2.0}, {"macs": 1.0}, {"b": "no kernel"})
    assert words == (
        "macs 2, limit 1; latency_ms@b was not measured, for target b does not run the file as it should (no kernel)"
    )
