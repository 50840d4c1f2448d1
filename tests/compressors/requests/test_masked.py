"""What a plan asks of single weights, and what is no such thing."""

from __future__ import annotations

from typing import Any

import pytest

from compressors.plan import CompressionPlan
from compressors.requests.masked import Amount, Mask, asked, depends, is_norm, least, written
from search_spaces.layers import LayerSpec


def plan(**decisions: Any) -> CompressionPlan:
    return CompressionPlan(steps={"masked": decisions})


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        ({"ratio": 1.0}, "mask.ratio: expected a number of at least 0 and below 1, got 1.0"),
        ({"ratio": -0.1}, "mask.ratio: expected"),
        ({"threshold": -1.0}, "mask.threshold: expected a number of at least 0, got -1.0"),
        ({"zeros": 1.5}, "mask.zeros: expected an integer of at least 0, got 1.5"),
        ({"ratio": "half"}, "mask.ratio: expected a number of at least 0 and below 1, got 'half'"),
        ({"ratio": False}, "mask.ratio: expected a number of at least 0 and below 1, got False"),
        ({"threshold": "0.1"}, "mask.threshold: expected a number of at least 0, got '0.1'"),
        ({"zeros": True}, "mask.zeros: expected an integer of at least 0, got True"),
        ({"ratio": 0.5, "threshold": 0.1}, "expected one of ratio, threshold, zeros, got ratio and threshold"),
        ({}, "expected one of ratio, threshold, zeros, got none"),
        ({"ratio": 0.5, "by": "luck"}, "mask.by: expected one of magnitude, sensitivity, got 'luck'"),
        ({"threshold": 0.5, "by": "sensitivity"}, "mask.by: expected magnitude beside a threshold"),
        ({"share": 0.5}, "mask: expected one of"),
        (0.5, "mask: expected one of"),
    ],
)
def test_what_is_no_amount_is_refused_by_name(decision: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        asked(plan(expand=decision))
    assert str(caught.value).startswith("expand: ")


def test_one_budget_stands_alone() -> None:
    with pytest.raises(ValueError, match="expected network alone, got conv, network"):
        asked(plan(network={"ratio": 0.5}, conv={"ratio": 0.5}))


def test_only_shares_and_numbers_of_a_layer_depend_on_no_weights() -> None:
    assert not depends(Mask({"a": Amount(ratio=0.5), "b": Amount(zeros=3, by="sensitivity")}))
    assert depends(Mask({"a": Amount(ratio=0.5), "b": Amount(threshold=0.1)}))
    assert depends(Mask({"network": Amount(ratio=0.5)}))


def test_zeros_are_rounded_as_torch_does_and_leave_a_weight() -> None:
    assert [Amount(ratio=0.5).zeros_of(weights) for weights in (1, 3, 5, 10)] == [0, 2, 2, 5]
    assert Amount(ratio=0.99).zeros_of(10) == 9
    assert Amount(zeros=7).zeros_of(5) == 4


def test_a_factor_has_the_amount_of_its_layer() -> None:
    record = Mask({"stage1.block1.expand": Amount(ratio=0.5)})
    assert record.amount_of("stage1.block1.expand.1") == Amount(ratio=0.5)
    assert record.amount_of("stage1.block1.expand2") is None
    assert record.amount_of("stage1.block1") is None


def test_what_results_takes_the_place_of_the_request() -> None:
    given = CompressionPlan(kept={"g": 3}, steps={"masked": {"network": {"ratio": 0.5}}, "other": {"a": 1}})
    record = Mask({"a": Amount(zeros=3), "b": Amount(zeros=4, by="sensitivity")})
    found = written(given, record)
    assert found.steps["masked"] == {"a": {"zeros": 3}, "b": {"zeros": 4, "by": "sensitivity"}}
    assert (found.kept, found.steps["other"], asked(found)) == (given.kept, {"a": 1}, record)
    assert "masked" not in written(given, Mask({})).steps


def test_a_batch_norm_that_is_executed_as_a_layer_has_no_weights_to_mask() -> None:
    norm = LayerSpec("norm", "norm", "depthwise", 8, 8)
    others = [LayerSpec("conv", "b", "depthwise", 8, 8, 3), LayerSpec("one", "b", "pointwise", 8, 8)]
    assert [is_norm(layer) for layer in (norm, *others)] == [True, False, False]
    found = least(plan(network={"ratio": 0.5}), [], [norm, *others])
    assert sorted(found.steps["masked"]) == ["conv", "one"]
