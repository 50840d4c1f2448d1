"""Records of a run that goes on on another device: what is outdated, and what new latencies make of a record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from by_hand import different, evaluated, make_study, measured

from nas.measuring.again import FEASIBLE_NOW, changes, judged, outdated, with_latencies
from nas.measuring.latency import PROTOCOL
from nas.records import Evaluation, Latency, State
from nas.study import Study, Target
from nas.tasks import Task

CANDIDATE = different(1)[0]
TASK = Task(0, CANDIDATE, "search", 0, 8, Path())
LATENCY = measured(CANDIDATE).latency["cpu"]
HERE = LATENCY.fingerprint.model_copy(update={"device": "a board", "threads": 2})


def faster(factor: float, **fields: Any) -> Latency:
    return LATENCY.model_copy(update={"latency_ms": LATENCY.latency_ms / factor, "fingerprint": HERE, **fields})


def two_targets(limit: float | None = None) -> Study:
    study = make_study(constraints={} if limit is None else {"latency_ms": limit})
    update = {"targets": (Target(name="cpu"), Target(name="b")), "objectives": ("accuracy", "latency_ms@b")}
    return study.model_copy(update=update)


def record(study: Study, state: State = State.COMPLETE, **fields: Any) -> Evaluation:
    both = measured(CANDIDATE).model_copy(update={"latency": {"cpu": LATENCY, "b": LATENCY}})
    return evaluated(TASK, study, state, **{"measurement": both, **fields})


def test_what_changed_is_told() -> None:
    assert changes(LATENCY, LATENCY.fingerprint) == []
    assert changes(LATENCY, HERE) == [f"device: {LATENCY.fingerprint.device} -> a board", "threads: 1 -> 2"]
    older = LATENCY.model_copy(update={"protocol": "v1"})
    assert changes(older, LATENCY.fingerprint) == [f"protocol: v1 -> {PROTOCOL}"]


def test_only_what_was_measured_elsewhere_is_outdated() -> None:
    study = two_targets()
    prints = {"cpu": LATENCY.fingerprint, "b": HERE}
    assert [target.name for target in outdated(record(study), study.targets, prints)] == ["b"]
    alone = record(study, measurement=measured(CANDIDATE))
    assert outdated(alone, study.targets, prints) == ()
    assert outdated(evaluated(TASK, study, State.FAILED), study.targets, prints) == ()


def test_a_record_has_its_new_latency_and_flags() -> None:
    study = two_targets()
    before = record(study, flags=("unstable", "simulated"))
    after = with_latencies(before, {"b": faster(2)}, study)
    assert after.measurement is not None
    assert after.measurement.costs("cpu")["latency_ms@b"] == LATENCY.latency_ms / 2
    assert after.measurement.latency["cpu"] == LATENCY
    assert (after.state, after.flags) == (State.COMPLETE, ("simulated",))
    assert with_latencies(before, {"b": faster(2, stable=False)}, study).flags == ("simulated", "unstable")
    same = before.model_copy(update={"measurement": None, "flags": ()})
    assert after.model_copy(update={"measurement": None, "flags": ()}) == same


@pytest.mark.parametrize(
    ("factor", "trained", "state"),
    [
        (2.0, True, State.COMPLETE),
        (0.5, True, State.INFEASIBLE),
        (2.0, False, State.FAILED),
        (0.5, False, State.INFEASIBLE),
    ],
)
def test_limits_are_looked_at_again(factor: float, trained: bool, state: State) -> None:
    """The limit is what it took before: faster keeps to it, slower does not; INFEASIBLE is whatever broke it before."""
    limit = LATENCY.latency_ms
    study = two_targets(limit)
    before = record(study, State.INFEASIBLE, violations={"latency_ms": 9.0}, reason="too slow")
    if trained:
        before = record(study)
    after = with_latencies(before, {"cpu": faster(factor)}, study)
    assert after.state is state
    assert after.violations == ({"latency_ms": pytest.approx(1.0)} if factor < 1 else {})
    reasons = {State.COMPLETE: "", State.FAILED: FEASIBLE_NOW}
    assert after.reason == reasons.get(state) or after.reason.startswith("latency_ms ")
    for phase in ("repeat", "reference", "rung"):
        other = before.model_copy(update={"phase": phase})
        assert judged(other, study) == other


def test_a_runtime_that_refuses_the_file_here() -> None:
    study = two_targets()
    after = with_latencies(record(study), {"b": "no kernel"}, study)
    assert after.measurement is not None
    assert (after.state, after.violations, after.flags) == (State.INFEASIBLE, {"latency_ms@b": 1.0}, ("parity@b",))
    assert (set(after.measurement.latency), after.measurement.refused) == ({"cpu"}, {"b": "no kernel"})
    assert after.reason.endswith("does not run the file as it should (no kernel)")
    first = with_latencies(record(study), {"cpu": "no kernel"}, study)
    assert (first.state, first.reason, first.measurement) == (State.FAILED, "no kernel", None)
