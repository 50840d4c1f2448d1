"""Low rank as a step: alone, before pruning and quantization, and where ranks are told from weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from pair import Channels
from torch import Tensor, nn

from compressors.folding import fold_batch_norm
from compressors.low_rank.modules import Factored
from compressors.low_rank.paths import factor_paths, located, of_factors
from compressors.pipeline import Options, apply_step, compress, requests_of, resolved
from compressors.plan import CompressionPlan
from compressors.quantization import QuantizedConv2d, QuantizedLinear
from compressors.steps import depends_on_weights, least_of

torch.set_num_threads(1)

GROUPS = (Channels("middle", 16, (("0", 0), ("1", 0), ("3", 1))),)
OPTIONS = Options(groups=GROUPS)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 12, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10),
    ).eval()  # fmt: skip


def batches() -> list[Tensor]:
    return list(torch.rand(2, 4, 8, 7, 7, generator=torch.Generator().manual_seed(0)))


def plan(**layers: dict[str, Any]) -> CompressionPlan:
    return CompressionPlan(steps={"low_rank": {name.removeprefix("l"): given for name, given in layers.items()}})


def made(asked: CompressionPlan, given: nn.Module | None = None) -> nn.Module:
    return compress(given or network(), asked, OPTIONS, batches(), trained=False)


def sizes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.named_parameters() if name.endswith("weight")}


def test_each_layer_is_factored_in_its_place() -> None:
    given = network()
    before = copy.deepcopy(given.state_dict())
    found = made(plan(l0={"method": "spatial_svd", "rank": 5}, l6={"method": "svd", "rank": 2}), given)
    assert sizes(found) == {
        "0.0.weight": (5, 8, 3, 1), "0.1.weight": (16, 5, 1, 3), "3.weight": (12, 16, 1, 1),
        "6.0.weight": (2, 12), "6.1.weight": (10, 2),
    }  # fmt: skip
    assert all(torch.equal(before[name], value) for name, value in given.state_dict().items())


def test_batch_norm_behind_the_last_factor_is_folded_into_it() -> None:
    asked = plan(l0={"method": "svd", "rank": 6})
    (request,) = requests_of(asked)
    whole = apply_step(network(), request, OPTIONS)
    norm = whole.get_submodule("1")
    norm.running_mean, norm.running_var = torch.rand(16), 0.5 + torch.rand(16)
    images = batches()[0]
    torch.testing.assert_close(fold_batch_norm(whole)(images), whole(images))
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fold_batch_norm(whole).modules())


def test_a_layer_that_would_not_be_smaller_is_left_alone() -> None:
    """12 * 16 + 12 = 204 parameters: rank 6 has 102 + 84 = 186, rank 7 has 119 + 96 = 215."""
    assert "3.0.weight" in sizes(made(plan(l3={"method": "svd", "rank": 6})))
    assert "3.weight" in sizes(made(plan(l3={"method": "svd", "rank": 7})))


def test_ranks_are_those_of_the_pruned_layer() -> None:
    """Half of the parameters of 8 -> 8 channels by 3 x 3: (576 + 8) / 2 = 292; rank r has 73 r + 8 r + 8."""
    asked = plan(l0={"method": "svd", "ratio": 0.5}).model_copy(update={"kept": {"middle": 8}})
    found = made(asked)
    assert sizes(found)["0.0.weight"] == (3, 8, 3, 3)
    assert sizes(found)["0.1.weight"] == (8, 3, 1, 1)
    assert sizes(found)["3.weight"] == (12, 8, 1, 1)


def test_pruning_cuts_outputs_of_the_last_factor_and_inputs_of_the_first() -> None:
    """With factors of full rank it removes the same channels of the same function as without them."""
    asked = plan(
        l0={"method": "tucker", "rank": [8, 16], "settled": True}, l3={"method": "svd", "rank": 12, "settled": True}
    ).model_copy(update={"kept": {"middle": 10}})
    given = network()
    given[0].weight.data[::2] *= 3  # so that both rank the same channels first
    given[3].weight.data[:, ::2] *= 3
    images = batches()[0]
    found, expected = made(asked, given), made(CompressionPlan(kept={"middle": 8}), given)
    assert sizes(found)["0.2.weight"][0] == 10
    assert sizes(found)["3.0.weight"][1] == 10
    asked = asked.model_copy(update={"kept": {"middle": 8}})
    torch.testing.assert_close(made(asked, given)(images), expected(images), rtol=0, atol=1e-5)


def test_factors_inherit_the_format() -> None:
    asked = plan(l0={"method": "cp", "rank": 6}, l6={"method": "svd", "rank": 3})
    found = made(asked.model_copy(update={"formats": {"0": "int4", "3": "int8", "6": "int8"}}))
    formats = {
        name: part.format.name
        for name, part in found.named_modules()
        if isinstance(part, QuantizedConv2d | QuantizedLinear)
    }
    assert formats == {f"0.{i}": "int4" for i in range(4)} | {"3": "int8", "6.0": "int8", "6.1": "int8"}


@pytest.mark.parametrize("how", [{"energy": 0.8}, {"vbmf": True}])
def test_ranks_that_weights_tell_are_resolved_once_and_written_into_the_plan(how: dict[str, Any]) -> None:
    given = network()
    signal = torch.randn(16, 3) @ torch.randn(3, 72)
    given[0].weight.data = (signal + 0.05 * torch.randn(16, 72)).reshape(16, 8, 3, 3)
    asked = plan(l0={"method": "svd", **how})
    assert depends_on_weights(asked)
    (request,) = requests_of(asked)
    found = resolved(given, request, OPTIONS)
    (layer,) = found.record.layers.values()
    rank = 3 if "vbmf" in how else int((given[0].weight.data.flatten(1).svd()[1] ** 2).cumsum(0).div(
        given[0].weight.data.square().sum()).lt(0.8).sum()) + 1  # fmt: skip
    assert layer.decision() == {"method": "svd", "rank": rank, "settled": True}
    written = request.step.written(asked, found.record)
    assert written.steps["low_rank"] == {"0": layer.decision()}
    assert not depends_on_weights(written)
    assert sizes(made(written, network())) == sizes(made(asked, given))  # a restart needs no weights


def test_what_vbmf_takes_for_noise_stays_whole() -> None:
    given = network()
    given[0].weight.data = torch.randn(16, 8, 3, 3, generator=torch.Generator().manual_seed(1))
    (request,) = requests_of(asked := plan(l0={"method": "tucker", "vbmf": True}))
    found = resolved(given, request, OPTIONS)
    assert found.record.layers == {}
    assert request.step.written(asked, found.record).steps == {}
    assert "0.weight" in sizes(made(asked, given))


def test_ratios_wait_for_widths_that_depend_on_weights() -> None:
    """Layers are factored before it is known what pruning leaves: ranks are then those of the whole layers."""
    asked = plan(l0={"method": "svd", "ratio": 0.5})
    (request,) = requests_of(asked)
    unknown = request.step.asked(CompressionPlan(steps={**asked.steps, "pruned": {"network": {"ratio": 0.5}}}))
    assert request.step.depends(unknown)
    assert not request.step.depends(request.record)
    settled = request.step.loaded().resolve(network(), unknown, OPTIONS)
    assert {name: one.decision() for name, one in settled.layers.items()} == {
        "0": {"method": "svd", "rank": 6, "settled": True}  # (1168 - 16) / 2 >= 73 r + 16 r + 16
    }
    assert not request.step.depends(settled)


def test_the_least_that_may_come_of_it_is_rank_one() -> None:
    asked = plan(l0={"method": "tucker", "energy": 0.5}, l3={"method": "svd", "rank": 4})
    assert least_of(asked, GROUPS, ()).steps["low_rank"] == {
        "0": {"method": "tucker", "rank": [1, 1]},
        "3": {"method": "svd", "rank": 1},
    }


def test_layers_that_there_are_not_or_that_have_no_rank_are_named() -> None:
    with pytest.raises(ValueError, match="low_rank names 9, which the network does not have"):
        made(plan(l9={"method": "svd", "rank": 1}))
    with pytest.raises(ValueError, match=r"cannot factor BatchNorm2d \(1\)"):
        made(plan(l1={"method": "svd", "rank": 1}))


def test_decisions_of_a_factored_layer_are_those_of_its_factors() -> None:
    given = {"a": 1, "b.c": 2, "d.0": 3, "e": 4}
    assert of_factors(given, ["a", "b.c.0", "b.c.1", "d.0", "f.0"]) == {
        "a": 1,
        "b.c.0": 2,
        "b.c.1": 2,
        "d.0": 3,
        "e": 4,
    }


def test_where_members_of_a_group_are() -> None:
    (request,) = requests_of(plan(l0={"method": "cp", "rank": 3}, l3={"method": "svd", "rank": 2}))
    found = apply_step(network(), request, OPTIONS)
    assert isinstance(found.get_submodule("0"), Factored)
    assert factor_paths(found, "0") == ("0.0", "0.1", "0.2", "0.3")
    assert factor_paths(found, "6") == ("6",)
    assert factor_paths(found, "7") == ("7",)
    (group,) = located(found, GROUPS)
    assert (group.name, group.width, group.members) == ("middle", 16, (("0.3", 0), ("1", 0), ("3.0", 1)))
    traced = fold_batch_norm(found)
    assert factor_paths(traced, "0") == ("0.0", "0.1", "0.2", "0.3")
    assert factor_paths(traced, "6") == ("6",)
