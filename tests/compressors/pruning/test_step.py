"""Pruning as a step: a budget of the whole network comes down to counts, whatever ranks and whatever goes before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from step_examples import ARCHITECTURE, CLASSES, EXAMPLES, small_network
from torch import Tensor

from compressors.evidence import Evidence
from compressors.pipeline import Options, compress, requests_of, resolved
from compressors.plan import CompressionPlan
from compressors.pruning import IMPORTANCES
from compressors.pruning.step import PRUNING
from nas.candidates.candidate import Candidate
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import FileHeader, emit

torch.set_num_threads(1)
BUDGET = {"pruned": {"network": {"ratio": 0.25, "grid": 4}}}
GROUPS = ARCHITECTURE.all_groups()


def batches() -> list[Tensor]:
    return list(torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(3)).split(8))


def options(importance: str = "taylor", **fields: Any) -> Options:
    labels, network = torch.arange(8) % CLASSES, small_network()
    moments = {name: parameter.detach() for name, parameter in network.named_parameters()}
    evidence = Evidence([(images, labels) for images in batches()], moments)
    return Options(groups=GROUPS, importance=IMPORTANCES[importance], evidence=evidence, **fields)


def outcome(importance: str) -> CompressionPlan:
    plan = CompressionPlan(steps=BUDGET)
    (request,) = requests_of(plan)
    found = resolved(small_network(), request, options(importance))
    return request.step.written(plan, found.record)


@pytest.mark.parametrize("name", sorted(IMPORTANCES))
def test_a_budget_comes_down_to_counts(name: str) -> None:
    """A quarter of all channels, to the nearest unit; the network then is what the plan of counts says."""
    plan, total = outcome(name), sum(group.width for group in GROUPS)
    removed = total - sum(plan.kept.get(group.name, group.width) for group in GROUPS)
    assert abs(removed - total / 4) <= 2
    assert all(count % 4 == 0 for count in plan.kept.values())
    asked = compress(small_network(), CompressionPlan(steps=BUDGET), options(name), batches())
    told = compress(small_network(), plan, options(name), batches())
    first, second = asked.state_dict(), told.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in second)
    found = read_costs(emit(asked.eval(), FileHeader(1, 8, tuple("abcd"))))
    assert found.parameters == Candidate(architecture=ARCHITECTURE, plan=plan).parameters(CLASSES)


def test_criteria_share_a_budget_out_in_their_own_ways() -> None:
    assert len({str(outcome(name).kept) for name in ("taylor", "l2", "bn_scale", "apoz")}) > 1


@pytest.mark.parametrize("gradual", [False, True])
@pytest.mark.parametrize("other", ["low_rank", "blocks_removed", "activations_removed", "masked", "quantized"])
def test_a_budget_goes_with_the_other_steps(other: str, gradual: bool) -> None:
    plan = EXAMPLES[other].plan.model_copy(update={"steps": {**EXAMPLES[other].plan.steps, **BUDGET}})
    candidate = Candidate(architecture=ARCHITECTURE, plan=plan)
    own = replace(options("saliency", gradual=gradual), groups=candidate.groups())
    network = compress(small_network(), plan, own, batches()).eval()
    assert torch.isfinite(network(batches()[0])).all()
    parameters = read_costs(emit(network, FileHeader(1, 8, tuple("abcd")))).parameters
    assert candidate.least(CLASSES).parameters(CLASSES) <= parameters < candidate.parameters(CLASSES)


def test_a_budget_is_resolved_first() -> None:
    (request,) = requests_of(CompressionPlan(steps=BUDGET))
    with pytest.raises(ValueError, match="expected a budget to be resolved before"):
        PRUNING.apply(small_network(), request.record, options())


def test_a_network_that_is_not_trained_yet_loses_its_last_channels() -> None:
    """What needs evidence has none; which channels go does not matter there, but how many."""
    group = GROUPS[0]
    plan, own = CompressionPlan(kept={group.name: 4}), replace(options(), evidence=None)
    producer = group.members[0][0]
    found = compress(small_network(), plan, own, batches(), trained=False)
    assert found.get_submodule(producer).weight.shape[0] == 4
    with pytest.raises(ValueError, match="expected evidence"):
        compress(small_network(), plan, own, batches())
