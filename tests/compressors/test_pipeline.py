"""A plan applied step by step: today's two steps, and one that exists in this file only."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from pair import Channels
from torch import Tensor, nn

from compressors.folding import fold_batch_norm
from compressors.pipeline import STEPS, Method, Options, Step, apply_step, compress, requests_of
from compressors.plan import CompressionPlan
from compressors.pruning import by_group, prune, weight_norm
from compressors.quantization import QuantizedConv2d, calibrate, prepare

torch.set_num_threads(1)


GROUPS = (Channels("middle", 6, (("0", 0), ("1", 0), ("3", 1))),)
OPTIONS = Options(groups=GROUPS, importance=by_group(weight_norm(1)))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 3)]
    return nn.Sequential(*layers).eval()


def batches() -> list[Tensor]:
    return list(torch.rand(2, 4, 2, 7, 7, generator=torch.Generator().manual_seed(0)))


def same(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def test_nothing_asked_is_the_folded_network() -> None:
    found = compress(network(), CompressionPlan(), OPTIONS, batches())
    assert same(found, fold_batch_norm(network()))


@pytest.mark.parametrize("trained", [True, False])
def test_both_steps_are_what_one_would_do_by_hand(trained: bool) -> None:
    """Statistics of an untrained network say nothing and are left; its grids have to be set."""
    plan = CompressionPlan(kept={"middle": 4}, formats={"0": "int8", "3": "int4"})
    found = compress(network(), plan, OPTIONS, batches(), trained=trained)
    expected: nn.Module = network()
    prune(expected, GROUPS, {"middle": 4}, importance=weight_norm(1))
    norm = expected.get_submodule("1")
    if trained:
        norm.reset_running_stats()
        norm.momentum = None
        expected.train()
        for images in batches():
            expected(images)
        assert float(norm.running_var.max()) < 0.9
    expected = prepare(expected, plan.formats)
    calibrate(expected, batches())
    assert same(found, expected)
    assert found.get_submodule("0").layer.out_channels == 4


def test_the_network_is_not_changed() -> None:
    given = network()
    before = copy.deepcopy(given)
    compress(given, CompressionPlan(kept={"middle": 1}, formats={"0": "int8"}), OPTIONS, iter(batches()))
    assert same(given, before)
    assert not given.training


def test_without_batches_nothing_is_settled() -> None:
    (request,) = requests_of(CompressionPlan(formats={"0": "int8"}))
    changed = apply_step(network(), request, OPTIONS)
    layer = changed.get_submodule("0")
    assert isinstance(layer, QuantizedConv2d)
    assert float(layer.input_scale) == 1.0


@dataclass(frozen=True)
class Shrink:
    """The decision of a step made up here: weights are multiplied by a factor."""

    factors: dict[str, float]


def toy(**fields: Any) -> Step:
    def apply(network: nn.Module, record: Shrink, _: Options) -> nn.Module:
        for path, factor in record.factors.items():
            network.get_submodule(path).weight.data *= factor
        return network

    def settle(network: nn.Module, batches: Iterable[Tensor]) -> None:
        network.get_submodule("3").bias.data.fill_(sum(len(images) for images in batches))

    def asked(plan: CompressionPlan) -> Shrink | None:
        return Shrink(dict(plan.steps["toy"])) if "toy" in plan.steps else None

    return Step("toy", asked=asked, method=Method(apply=apply, settle=settle), **{"after": ("pruned",), **fields})


def test_a_row_of_one_s_own_is_applied_between_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, "toy", toy())
    plan = CompressionPlan(kept={"middle": 4}, formats={"3": "int8"}, steps={"toy": {"3": 0.0}})
    found = compress(network(), plan, OPTIONS, batches())
    assert [request.step.name for request in requests_of(plan)] == ["pruned", "toy", "quantized"]
    assert found.get_submodule("3").packed().codes.unique().tolist() == [0]
    assert found.get_submodule("0").out_channels == 4
    assert found.get_submodule("3").bias.tolist() == [8.0, 8.0, 8.0]


def test_only_what_shapes_grids_is_settled_on_an_untrained_network(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = CompressionPlan(steps={"toy": {"3": 0.5}})
    for shapes_grids in (False, True):
        monkeypatch.setitem(STEPS, "toy", toy(shapes_grids=shapes_grids))
        found = compress(network(), plan, OPTIONS, batches(), trained=False)
        assert torch.equal(found.get_submodule("3").weight, network()[3].weight * 0.5)
        assert (found.get_submodule("3").bias.tolist()[0] == 8) == shapes_grids
