"""The table of steps: what a plan asks for, in which order, and what may not go together."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest
from pydantic import JsonValue

from compressors.plan import CompressionPlan
from compressors.requests.pruned import Prune
from compressors.requests.quantized import Calibrate, Quantize, QuantizeDynamically
from compressors.requests.removed import RemoveActivations, RemoveBlocks
from compressors.steps import (
    ANYTHING,
    STEPS,
    Retraining,
    Step,
    ordered,
    requests_of,
    retraining_of,
    stage_names,
)


def row(name: str, after: Collection[str] = (), reason: str = "") -> Step:
    return Step(name, asked=lambda plan: plan.steps.get(name), method=None, after=after, reason=reason)


def test_a_plan_asks_for_records_in_order() -> None:
    plan = CompressionPlan(formats={"a": "int8", "b": "fp32"}, kept={"g": 3})
    assert [(r.step.name, r.record) for r in requests_of(plan)] == [
        ("pruned", Prune({"g": 3})),
        ("quantized", Quantize({"a": "int8"})),
    ]


@pytest.mark.parametrize("plan", [CompressionPlan(), CompressionPlan(formats={"a": "fp32"})])
def test_a_plan_may_ask_for_nothing(plan: CompressionPlan) -> None:
    assert requests_of(plan) == ()


@pytest.mark.parametrize("step", ["blocks_removed", "activations_removed"])
@pytest.mark.parametrize("value", [False, 1, "yes", 0.5, None])
def test_what_is_removed_is_meant_or_left_out(step: str, value: JsonValue) -> None:
    with pytest.raises(ValueError, match=rf"plan\.steps\.{step}\.b: expected true, or no such key, got"):
        requests_of(CompressionPlan(steps={step: {"b": value}}))


def test_removal_comes_before_what_depends_on_it() -> None:
    steps: dict[str, dict[str, JsonValue]] = {"activations_removed": {"b": True}, "blocks_removed": {"a": True}}
    plan = CompressionPlan(kept={"g": 1}, formats={"l": "int8"}, steps=steps)
    found = [(r.step.name, r.record) for r in requests_of(plan)]
    assert found[:2] == [("blocks_removed", RemoveBlocks(("a",))), ("activations_removed", RemoveActivations(("b",)))]
    assert [name for name, _ in found[2:]] == ["pruned", "quantized"]


def test_seeds_of_stages_are_fixed_and_their_own() -> None:
    """Accuracies of runs that go on depend on them."""
    assert [retraining_of(name).number for name in ("dense", "pruned", "quantized")] == [0, 1, 2]
    numbers = [step.training.number for step in STEPS.values() if step.training is not None]
    assert len({0, *numbers}) == len(numbers) + 1


def test_rows_are_named_as_they_are_found() -> None:
    for name, step in STEPS.items():
        assert step.name == name
        assert step.loaded().apply is not None


def test_an_unknown_stage_is_named() -> None:
    with pytest.raises(ValueError, match=f"expected one of {', '.join(stage_names())}, got 'polished'"):
        retraining_of("polished")


def test_an_unknown_step_is_named() -> None:
    with pytest.raises(ValueError, match=f"expected some of {', '.join(STEPS)}, got polished"):
        requests_of(CompressionPlan(steps={"polished": {"a": 1}}))


def test_a_step_that_does_not_read_the_plan_s_steps_is_no_key_of_theirs() -> None:
    with pytest.raises(ValueError, match=r"read nothing from plan\.steps: quantized"):
        requests_of(CompressionPlan(steps={"quantized": {"a": "int8"}}))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ((), ["toy", "quantized"]),
        (("pruned",), ["pruned", "toy", "quantized"]),
        (("pruned", "quantized"), ["pruned", "quantized", "toy"]),
    ],
)
def test_a_new_row_finds_its_place(monkeypatch: pytest.MonkeyPatch, after: Sequence[str], expected: list[str]) -> None:
    monkeypatch.setitem(STEPS, "toy", row("toy", after))
    assert list(ordered(expected)) == expected
    assert list(ordered(expected[::-1])) == expected


def test_a_pair_that_has_no_order_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, "toy", row("toy", reason="it needs every channel"))
    with pytest.raises(ValueError, match=r"pruned and toy cannot be combined: .*toy may follow no other step \(it"):
        requests_of(CompressionPlan(kept={"g": 1}, steps={"toy": {"a": 1}}))


def test_a_circle_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, before in (("x", "z"), ("y", "x"), ("z", "y")):
        monkeypatch.setitem(STEPS, name, row(name, (before,)))
    with pytest.raises(ValueError, match="x, y, z have no order"):
        ordered(["x", "y", "z"])


def test_anything_is_any_name() -> None:
    assert "whatever" in ANYTHING
    assert row("toy", ANYTHING).after is ANYTHING


def test_retraining_has_today_s_numbers() -> None:
    assert STEPS["pruned"].training == Retraining(number=1, share=0.2, peak=0.5)
    quantized = Retraining(number=2, share=0.3, peak=0.1, ceiling=0.1, in_fp32=True, is_tail=True, with_norms=(0.5, 1))
    assert STEPS["quantized"].training == quantized


WHOLE = {"network": True}


def test_formats_are_brought_about_in_one_way() -> None:
    formats = {"a": "int8"}
    for name, record in (("calibrated", Calibrate(formats)), ("dynamic", QuantizeDynamically(formats))):
        (request,) = requests_of(CompressionPlan(formats=formats, steps={name: WHOLE}))
        assert (request.step.name, request.record, request.step.training) == (name, record, None)
    with pytest.raises(ValueError, match=r"calibrated and dynamic cannot be combined.*quantized in one way"):
        requests_of(CompressionPlan(formats=formats, steps={"calibrated": WHOLE, "dynamic": WHOLE}))


def test_what_a_whole_network_is_told() -> None:
    with pytest.raises(ValueError, match=r"plan.steps.calibrated: expected .'network': True., got .'a': True."):
        requests_of(CompressionPlan(formats={"a": "int8"}, steps={"calibrated": {"a": True}}))
    with pytest.raises(ValueError, match="step dynamic: expected fp32 or int8 for a, got int4"):
        requests_of(CompressionPlan(formats={"a": "int4"}, steps={"dynamic": WHOLE}))
