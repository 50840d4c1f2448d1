"""What is certain of a candidate whose costs depend on weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from candidates import draw_candidate

from compressors.plan import CompressionPlan
from compressors.steps import STEPS, GroupShape, LayerShape, Step
from nas.candidates.candidate import Candidate
from nas.measuring.bounds import bound_of


def narrowest(plan: CompressionPlan, groups: Sequence[GroupShape], layers: Sequence[LayerShape]) -> CompressionPlan:
    """Whatever is kept, a channel of every group is."""
    assert {layer.kind for layer in layers} == {"conv", "depthwise", "pointwise", "linear"}
    return plan.model_copy(update={"kept": {group.name: 1 for group in groups}, "steps": {}})


def asked(plan: CompressionPlan) -> Any:
    return plan.steps.get("toy")


@pytest.fixture
def candidate(monkeypatch: pytest.MonkeyPatch) -> Candidate:
    monkeypatch.setitem(STEPS, "toy", Step("toy", asked, None, depends=lambda _: True, least=narrowest))
    drawn, _ = draw_candidate("32px", 0, "network", weight_format=("int4",))
    return drawn.resulting(drawn.plan.model_copy(update={"steps": {"toy": {"network": 0.5}}}))


def test_the_bound_is_what_the_least_plan_costs(candidate: Candidate) -> None:
    least = candidate.least(10)
    assert candidate.depends_on_weights
    assert not least.depends_on_weights
    groups = candidate.architecture.all_groups()
    assert dict(least.plan.kept) == {group.name: 1 for group in groups}
    bound = bound_of(candidate, 10)
    assert (bound.origin, bound.latency) == ("bound", {})
    assert bound.costs("cpu") == {
        "parameters": least.parameters(10), "macs": least.macs(10), "size_bytes": least.weight_bytes(10)
    }  # fmt: skip
    assert bound.parameters < candidate.parameters(10) / 3
