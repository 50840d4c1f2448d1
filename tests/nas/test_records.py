"""The one door for numbers: what it refuses, and that records survive JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nas.records import (
    COSTS,
    OBJECTIVES,
    Evaluation,
    Fingerprint,
    Latency,
    Measurement,
    Parity,
    Score,
    State,
    Verification,
    Versions,
    parity_at,
    score,
)

FINGERPRINT = Fingerprint(
    device="cpu", instruction_sets=("avx2", "vnni"), runtime="ort 1", provider="CPU", threads=1, batch=1
)


def latency(**fields: Any) -> Latency:
    given_fields = {
        "latency_ms": 1.5,
        "stable": True,
        "protocol": "p1",
        "control_ms": 0.5,
        "fingerprint": FINGERPRINT,
    }
    return Latency.model_validate({**given_fields, "passes_us": ((1500.0, 1501.0), (1499.5,)), **fields})


def measurement(**fields: Any) -> Measurement:
    costs = {"parameters": 10, "macs": 20, "size_bytes": 30, "peak_memory_bytes": 40}
    both = {"cpu": latency(), "board": latency(latency_ms=9.0)}
    return Measurement.model_validate({"origin": "shipped file", "latency": both, **costs, **fields})


PARITY = {
    "images": 8, "max_difference": 0.1, "tolerance": 0.2, "within_tolerance": 0.999, "argmax_agreement": 0.99,
    "clear_margin_disagreements": 0, "accuracy_difference": 0.0,
}  # fmt: skip


def evaluation(**fields: Any) -> Evaluation:
    known = {
        "candidate_id": "a", "structure_id": "b", "phase": "search", "seed": 0,
        "state": State.COMPLETE, "target": "cpu",
        "measurement": measurement(), "validation": score(9, 10), "started_at": "2030-01-01T00:00:00Z",
    }  # fmt: skip
    return Evaluation.model_validate({**known, **fields})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("build", "fields"),
    [
        (latency, lambda v: {"latency_ms": v}),
        (latency, lambda v: {"passes_us": ((1.0, v),)}),
        (measurement, lambda v: {"parameters": v}),
        (evaluation, lambda v: {"train_accuracy": v}),
        (evaluation, lambda v: {"violations": {"macs": v}}),
        (evaluation, lambda v: {"seconds": {"train": v}}),
        (evaluation, lambda v: {"parity": {**PARITY, "max_difference": v}}),
        (evaluation, lambda v: {"validation": {"accuracy": v, "se": 0.1, "images": 3}}),
        (evaluation, lambda v: {"validation": {"accuracy": 0.1, "se": v, "images": 3}}),
    ],
)
def test_nan_and_infinity_do_not_enter(
    value: float, build: Callable[..., Any], fields: Callable[[float], dict[str, Any]]
) -> None:
    build(**fields(1.0))
    with pytest.raises(ValidationError):
        build(**fields(value))


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (latency, {"latency_ms": 0.0}),
        (latency, {"latency_ms": -1.0}),
        (measurement, {"parameters": -1}),
        (measurement, {"parameters": 1.5}),
        (measurement, {"size_bytes": 0}),
        (measurement, {"origin": "predicted"}),
        (evaluation, {"state": "DONE"}),
        (evaluation, {"phase": "test"}),
        (evaluation, {"train_accuracy": 1.1}),
        (evaluation, {"accuracy": 0.5}),
    ],
)
def test_wrong_fields_do_not_enter(build: Any, field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        build(**field)


def test_records_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        evaluation().state = State.FAILED  # type: ignore[misc]


fractions = st.floats(0, 1)
evaluations = st.builds(
    evaluation,
    state=st.sampled_from(State),
    phase=st.sampled_from(["search", "rung", "repeat", "final", "reference"]),
    reason=st.text(),
    validation=st.none() | st.builds(Score, accuracy=fractions, se=fractions, images=st.integers(1, 10**6)),
    measurement=st.none() | st.just(measurement()),
    parity=st.none() | st.just(PARITY),
    violations=st.dictionaries(st.sampled_from(COSTS), st.floats(allow_nan=False, allow_infinity=False)),
    train_accuracy=st.none() | fractions,
    flags=st.lists(st.sampled_from(["parity", "unstable"]), max_size=2),
)


@given(evaluations)
def test_json_round_trip(record: Evaluation) -> None:
    assert Evaluation.model_validate_json(record.model_dump_json()) == record


def test_states_are_their_own_words() -> None:
    words = ["RUNNING", "COMPLETE", "PRUNED", "INFEASIBLE", "DUPLICATE", "FAILED"]
    assert [state.value for state in State] == words
    assert [str(state) for state in State] == words


def test_costs_by_name() -> None:
    assert measurement().costs("board") == {
        "parameters": 10,
        "macs": 20,
        "size_bytes": 30,
        "peak_memory_bytes": 40,
        "latency_ms": 9,
        "latency_ms@cpu": 1.5,
    }
    assert measurement().cost("latency_ms@board", "cpu") == 9
    assert measurement().cost("latency_ms", "cpu") == 1.5
    for name in ("speed", "origin"):
        with pytest.raises(KeyError, match=f"unknown cost '{name}'"):
            measurement().cost(name, "cpu")


def test_costs_of_other_targets_by_name() -> None:
    """`board` has a file of its own; `phone` as well, but does not run it as it should."""
    found = measurement(other_size_bytes={"board": 35, "phone": 36})
    expected = {"latency_ms@board": 9.0, "size_bytes@board": 35, "size_bytes@phone": 36}
    assert found.other_costs("cpu") == expected
    assert {name: found.cost(name, "cpu") for name in expected} == expected
    assert found.cost("latency_ms@cpu", "cpu") == 1.5
    assert measurement().other_costs("cpu") == {"latency_ms@board": 9.0}
    for name in ("latency_ms@phone", "size_bytes@tablet"):
        with pytest.raises(KeyError):
            found.cost(name, "cpu")


def test_latencies_of_before_name_the_control_as_they_did() -> None:
    written = latency(control_ms=0.25).model_dump(mode="json")
    written["reference_ms"] = written.pop("control_ms")
    assert Latency.model_validate(written) == latency(control_ms=0.25)
    assert Latency.model_validate_json(json.dumps(written)) == latency(control_ms=0.25)


BEFORE = {
    "compact_nas": "0.1.0", "torch": "2.13.0", "onnxruntime": "1.31.0", "python": "3.11.7",
    "system": "Linux x86_64", "training_device": "cpu", "training_threads": 2,
}  # fmt: skip


def test_versions_are_written_as_before_with_every_runtime_by_its_name() -> None:
    versions = Versions.model_validate(BEFORE)
    assert (versions.torch, versions.runtimes) == ("2.13.0", {"onnxruntime": "1.31.0"})
    assert versions.model_dump(mode="json") == BEFORE
    both = versions.model_copy(update={"runtimes": {"onnxruntime": "1.31.0", "openvino": "2026.4"}})
    assert both.model_dump(mode="json") == {**BEFORE, "openvino": "2026.4"}
    assert Versions.model_validate_json(both.model_dump_json()) == both
    assert Versions().model_dump() == {}


def test_an_evaluation_of_before_is_read() -> None:
    written = evaluation(machine=BEFORE).model_dump(mode="json")
    for name in ("other_parity",):
        del written[name]
    del written["measurement"]["other_size_bytes"]
    for timed in written["measurement"]["latency"].values():
        timed["reference_ms"] = timed.pop("control_ms")
    assert Evaluation.model_validate_json(json.dumps(written)) == evaluation(machine=BEFORE)


def verification(*flags: str) -> Verification:
    return Verification(asked_integer=(), ran_integer=(), parity=Parity.model_validate(PARITY), layers=(), flags=flags)


def test_a_bound_tells_the_least_and_no_more() -> None:
    bound = measurement(origin="bound", latency={}, peak_memory_bytes=0)
    assert bound.costs("cpu") == {"parameters": 10, "macs": 20, "size_bytes": 30}
    with pytest.raises(KeyError, match="coded_bytes was not measured"):
        bound.cost("coded_bytes", "cpu")


def test_a_verification_names_the_targets_in_doubt() -> None:
    assert verification("parity", parity_at("ov"), parity_at("a@b")).doubtful_targets == ("ov", "a@b")
    assert verification("parity").doubtful_targets == ()


def test_what_is_known_is_what_was_measured() -> None:
    assert ("accuracy", "balanced_accuracy", "macro_f1", *COSTS) == OBJECTIVES
    scored = Score(accuracy=0.9, se=0.1, images=10, balanced_accuracy=0.7, macro_f1=0.6)
    qualities = {"accuracy": 0.9, "balanced_accuracy": 0.7, "macro_f1": 0.6}
    assert evaluation(validation=scored, measurement=None).known == qualities
    costs = evaluation(validation=None, measurement=measurement(nonzero_parameters=7, coded_bytes=20)).known
    assert (set(costs), costs["nonzero_parameters"]) == ({*COSTS, "latency_ms@board"}, 7)
    costs = evaluation(validation=None).known
    assert (set(costs), costs["macs"], costs["latency_ms"]) == (
        {*COSTS, "latency_ms@board"} - {"nonzero_parameters", "coded_bytes"},
        20,
        1.5,
    )
    assert evaluation(validation=scored).known == {**qualities, **costs}
    assert evaluation(validation=None, measurement=None, state="FAILED").known == {}


@pytest.mark.parametrize(
    ("fields", "holds"),
    [({}, True), ({"within_tolerance": 0.998}, False), ({"argmax_agreement": 0.98}, False),
     ({"clear_margin_disagreements": 1}, False), ({"accuracy_difference": 1.0}, True)],
)  # fmt: skip
def test_parity(fields: dict[str, Any], holds: bool) -> None:
    assert Parity.model_validate({**PARITY, "images": 512, **fields}).holds is holds


@pytest.mark.parametrize(
    ("images", "different", "rare"), [(20, 1, True), (20, 2, False), (500, 5, True), (500, 6, False)]
)
def test_a_single_image_or_one_in_a_hundred_may_differ(images: int, different: int, rare: bool) -> None:
    share = different / images
    assert Parity.model_validate({**PARITY, "images": images, "argmax_agreement": 1 - share}).holds is rare
    assert Parity.model_validate({**PARITY, "images": images, "accuracy_difference": share}).is_broken is not rare


def test_fidelity_is_the_share_of_the_budget() -> None:
    assert evaluation(epochs=5, budget=20).fidelity == 0.25
    assert evaluation().fidelity == 0


def test_score_has_its_binomial_standard_error() -> None:
    assert (score(9, 10).accuracy, score(9, 10).images) == (0.9, 10)
    assert score(9, 10).se == pytest.approx(0.009**0.5)
    assert (score(0, 10).se, score(10, 10).se) == (0, 0)
