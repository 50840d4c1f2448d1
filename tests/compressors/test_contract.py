"""What every compression step promises, on a small network: each row of the table, and every pair of rows."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from contract import ILLEGAL, LEGAL, ROWS, batches, check_file, compressed, file_of, images, options, same, wholes
from step_examples import ARCHITECTURE, CLASSES, EXAMPLES, SHARED, Example, small_network, together
from torch import nn
from torch.nn import functional as F

from compressors.folding import fold_batch_norm
from compressors.pipeline import STEPS, Method, Options, Step, apply_step, compress, requests_of, resolved
from compressors.plan import CompressionPlan
from compressors.steps import ordered
from nas.candidates.candidate import Candidate
from nas.runtimes.onnx.costs import read_costs

torch.set_num_threads(1)


def test_every_step_has_an_example() -> None:
    assert sorted(set(STEPS) - set(EXAMPLES)) == sorted(set(STEPS) - set(SHARED)) == []


@pytest.mark.parametrize("name", ROWS)
def test_its_example_asks_for_it_alone(name: str) -> None:
    assert [request.step.name for request in requests_of(EXAMPLES[name].plan)] == [name]


@pytest.mark.parametrize("name", ROWS)
def test_a_plan_survives_a_way_through_json(name: str) -> None:
    plan = EXAMPLES[name].plan
    again = CompressionPlan.model_validate(json.loads(plan.model_dump_json()))
    assert again == plan
    assert requests_of(again) == requests_of(plan)


@pytest.mark.parametrize("name", ROWS)
def test_the_answers_keep_their_shape_and_change(name: str) -> None:
    found, dense = compressed(EXAMPLES[name].plan)(images()), small_network()(images())
    assert found.shape == dense.shape == (32, CLASSES)
    assert torch.isfinite(found).all()
    assert not torch.allclose(found, dense, atol=1e-4)


@pytest.mark.parametrize("name", ROWS)
def test_the_network_that_is_given_stays_as_it_is(name: str) -> None:
    given = small_network()
    before, modes = copy.deepcopy(given), [module.training for module in given.modules()]
    compressed(EXAMPLES[name].plan, given)
    assert same(given, before)
    assert [module.training for module in given.modules()] == modes
    assert all(parameter.grad is None for parameter in given.parameters())


@pytest.mark.parametrize("name", ROWS)
def test_the_same_again_is_the_same(name: str) -> None:
    torch.manual_seed(1)
    first = compressed(EXAMPLES[name].plan)
    torch.manual_seed(2)
    assert same(first, compressed(EXAMPLES[name].plan))


@pytest.mark.parametrize("name", [name for name in ROWS if EXAMPLES[name].nothing is not None])
def test_asked_for_nothing_it_does_nothing(name: str) -> None:
    plan = EXAMPLES[name].nothing
    assert plan is not None
    network = small_network()
    settled = compress(network, CompressionPlan(kept=plan.kept), options(), batches())  # pruning estimates statistics
    expected = settled.eval() if plan.kept else fold_batch_norm(network)
    assert torch.allclose(compressed(plan, network)(images()), expected(images()), atol=1e-4)
    assert read_costs(file_of(compressed(plan))).parameters == Candidate(architecture=ARCHITECTURE).parameters(CLASSES)


@pytest.mark.parametrize("name", [name for name in ROWS if EXAMPLES[name].spared is not None])
def test_what_says_nothing_may_go(name: str) -> None:
    example, network = EXAMPLES[name], small_network()
    assert example.spared is not None
    example.spared(network)
    dense = network(images())
    (request,) = requests_of(example.plan)
    request = resolved(network, request, options())
    smaller = apply_step(copy.deepcopy(network), request, options())  # unsettled: statistics are still the old ones
    found = request.step.loaded().leave(smaller).eval()(images())
    assert torch.allclose(found, dense, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in ROWS if STEPS[name].training is not None])
def test_gradients_reach_every_weight_of_its_stage(name: str) -> None:
    (request,) = requests_of(EXAMPLES[name].plan)
    network = small_network()
    network = apply_step(network, resolved(network, request, options()), options(), batches()).train()
    method = request.step.loaded()
    method.begin_epoch(network, 0.0)
    method.before_step(network, 0.0)
    F.cross_entropy(network(images()), torch.arange(32) % CLASSES).backward()
    trained = [(path, p) for path, p in network.named_parameters() if p.requires_grad]
    assert [path for path, parameter in trained if parameter.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for _, p in trained)
    still = [path for path, p in trained if p.dim() > 1 and not p.grad.any()]
    assert still == []


@pytest.mark.parametrize("name", ROWS)
def test_its_file_is_what_was_foretold(name: str) -> None:
    plan = EXAMPLES[name].plan
    check_file(plan, compressed(plan))


MORE = [(name, number) for name in ROWS for number in range(len(EXAMPLES[name].more))]


@pytest.mark.parametrize(("name", "number"), MORE)
def test_so_are_those_of_its_other_requests(name: str, number: int) -> None:
    plan = EXAMPLES[name].more[number]
    assert [request.step.name for request in requests_of(plan)] == [name]
    check_file(plan, compressed(plan))


@pytest.mark.parametrize("names", wholes(), ids="-".join)
def test_all_go_together(names: tuple[str, ...]) -> None:
    plan = together(EXAMPLES[name].plan for name in names)
    assert [request.step.name for request in requests_of(plan)] == list(ordered(names))
    check_file(plan, compressed(plan))


@pytest.mark.parametrize("pair", LEGAL, ids="-".join)
def test_what_may_go_together_does(pair: tuple[str, str]) -> None:
    plan = together(EXAMPLES[name].plan for name in pair)
    assert [request.step.name for request in requests_of(plan)] == list(ordered(pair))
    network = compressed(plan)
    assert same(network, compressed(plan))
    check_file(plan, network)


@pytest.mark.parametrize("pair", ILLEGAL, ids="-".join)
def test_what_may_not_is_refused_with_the_reason(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"steps \w+ and \w+ cannot be combined: ") as caught:
        ordered(pair)
    for name in pair:
        assert name in str(caught.value)
        assert STEPS[name].reason
        assert STEPS[name].reason in str(caught.value)


@dataclass(frozen=True)
class Shrink:
    """The request of a step made up here: weights are multiplied by a factor."""

    factors: dict[str, float]


def toy() -> Step:
    def apply(network: nn.Module, record: Shrink, _: Options) -> nn.Module:
        for path, factor in record.factors.items():
            network.get_submodule(path).weight.data *= factor
        return network

    def asked(plan: CompressionPlan) -> Shrink | None:
        return Shrink(dict(plan.steps["toy"])) if "toy" in plan.steps else None  # type: ignore[arg-type]

    return Step("toy", asked=asked, method=Method(apply=apply), after=("pruned",), reason="it is a toy")


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, "toy", toy())
    example = Example(
        CompressionPlan(steps={"toy": {"head.conv": 0.5}}), nothing=CompressionPlan(steps={"toy": {"head.conv": 1.0}})
    )
    monkeypatch.setitem(EXAMPLES, "toy", example)


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    "check",
    [
        test_its_example_asks_for_it_alone, test_a_plan_survives_a_way_through_json, test_the_same_again_is_the_same,
        test_the_answers_keep_their_shape_and_change, test_the_network_that_is_given_stays_as_it_is,
        test_asked_for_nothing_it_does_nothing, test_its_file_is_what_was_foretold,
    ],
)  # fmt: skip
def test_a_row_of_one_s_own_is_held_to_the_same(check: Any) -> None:
    check("toy")


@pytest.mark.usefixtures("toys")
def test_a_row_of_one_s_own_goes_with_those_it_names() -> None:
    test_what_may_go_together_does(("pruned", "toy"))
    test_what_may_go_together_does(("toy", "quantized"))
