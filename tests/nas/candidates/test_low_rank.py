"""Factored layers of a candidate: shapes in closed form are those of the network, and only what has an effect stays."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from factored import CLASSES, SPACE, WAYS, drawn_factored, network_of
from torch import nn

from compressors.low_rank.factoring import Factoring
from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates
from nas.candidates.counting import space_size
from nas.candidates.features import Features
from nas.candidates.genes import gene_choices, may_depend_on_weights
from nas.candidates.low_rank import idle_choices, share_left
from nas.study import Compression, Study
from search_spaces.architecture import Architecture, StageConfig, StemConfig
from search_spaces.block_configs import InvertedResidualConfig, ResidualConfig
from search_spaces.spaces import MobileSpace

torch.set_num_threads(1)

ARCHITECTURE = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=16),
    stages=(
        StageConfig(width=24, stride=2, blocks=(ResidualConfig(kind="residual", kernel=3, expansion=1),)),
        StageConfig(width=24, stride=1, blocks=(InvertedResidualConfig(kernel=3, expansion=2),)),
    ),
    head=None,
)


def candidate(kept: dict[str, int] | None = None, **layers: Any) -> Candidate:
    steps = {"low_rank": {name.replace("__", "."): given for name, given in layers.items()}}
    plan = CompressionPlan(kept=kept or {}, steps=steps)
    return Candidate.from_json(Candidate(architecture=ARCHITECTURE, plan=plan).to_json())


def study(**compression: Any) -> Study:
    return Study.model_validate(
        {
            "name": "ranks", "data": {"source": "digits"}, "space": {"family": "mixed", "preset": "8px"},
            "compression": compression, "objectives": ("accuracy", "size_bytes"), "search": {"sampler": "random"},
        }
    )  # fmt: skip


REMOVING = {"remove_blocks": (True, False), "remove_activations": (True, False)}


@pytest.mark.parametrize("fields", [{}, REMOVING], ids=["alone", "removing"])
@pytest.mark.parametrize("seed", range(3))
def test_layers_in_closed_form_are_those_of_the_network(seed: int, fields: dict[str, Any]) -> None:
    """Also where blocks and activations are removed before, and layers merged."""
    one = drawn_factored(seed, **fields)
    assert Candidate.from_json(json.loads(json.dumps(one.to_json()))).id == one.id
    found = {
        name: (
            part.weight.numel() + part.bias.numel(),
            *(part.kernel_size if isinstance(part, nn.Conv2d) else (1, 1)),
        )
        for name, part in network_of(one).named_modules()
        if isinstance(part, nn.Conv2d | nn.Linear)
    }
    assert found == {layer.name: (layer.parameters, *layer.kernels) for layer in one.layers(CLASSES)}
    assert any(layer.name != layer.whole for layer in one.layers(CLASSES))


def test_maps_between_factors_are_those_of_the_strides() -> None:
    """24 filters of 3 x 3 x 16 with stride 2 on 8 x 8 pixels."""
    given = candidate(stage1__block1__conv1={"method": "spatial_svd", "rank": 4})
    column, row = (one for one in given.layers(10) if one.whole == "stage1.block1.conv1")
    assert (column.kernels, column.strides, column.input_map, column.output_map) == ((3, 1), (2, 1), (8, 8), (4, 8))
    assert (row.kernels, row.strides, row.input_map, row.output_map) == ((1, 3), (1, 2), (4, 8), (4, 4))
    assert column.macs == 16 * 4 * 3 * 32
    assert row.macs == 4 * 24 * 3 * 16
    assert (column.kind, column.out_channels, row.in_channels) == ("conv", 4, 4)


def test_equal_parts_are_one_object() -> None:
    """By which what was worked out of one is found again; and other ranks make other parts."""
    steps = {"low_rank": {"stage1.block1.conv1": {"method": "tucker", "rank": [3, 4]}}}
    linear = {**steps, "activations_removed": {"stage1.block1": True}}
    for given in (steps, linear):
        one, other = (
            Candidate(architecture=ARCHITECTURE, plan=CompressionPlan(steps=given)).parts(10)[1] for _ in range(2)
        )
        assert one is other
    assert candidate(stage1__block1__conv1={"method": "svd", "rank": 3}).parts(10)[1] is not one


def test_cp_is_pointwise_and_depthwise() -> None:
    given = candidate(stage1__block1__conv2={"method": "cp", "rank": 7})
    found = [one for one in given.layers(10) if one.whole == "stage1.block1.conv2"]
    assert [(one.kind, one.weight_count) for one in found] == [
        ("pointwise", 24 * 7), ("depthwise", 7 * 3), ("depthwise", 7 * 3), ("pointwise", 7 * 24),
    ]  # fmt: skip
    assert [one.name for one in found] == [f"stage1.block1.conv2.{number}" for number in range(4)]


def test_a_square_layer_says_nothing_of_widths() -> None:
    assert all(layer.wide is None for layer in candidate().layers(10))


@pytest.mark.parametrize(
    ("layer", "given", "words"),
    [
        ("stage2.block1.depthwise", {"method": "svd", "rank": 2}, "got a depthwise one, which has no rank to reduce"),
        ("stage2.block1.expand", {"method": "cp", "rank": 2}, "cp: expected a k x k convolution, got a pointwise one"),
        ("stage9.block1.expand", {"method": "svd", "rank": 2}, "this architecture does not have such a layer"),
        ("network", {"method": "svd", "rank": 2}, "this architecture does not have such a layer"),
        ("stage2.block1.expand", {"method": "svd", "ratio": 1.0}, "ratio: Input should be less than 1"),
    ],
)
def test_what_a_candidate_cannot_have_is_named(layer: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"^low_rank of {layer}: ") as caught:
        candidate(**{layer.replace(".", "__"): given})
    assert words in str(caught.value)


def test_what_has_no_effect_drops_out() -> None:
    """24 -> 48 channels, 1200 parameters: rank 15 has 15 * 25 + 48 * 16 = 1143, rank 16 has 1216."""
    whole = candidate()
    assert candidate(stage2__block1__expand={"method": "svd", "rank": 16}).id == whole.id
    factored = candidate(stage2__block1__expand={"method": "svd", "rank": 15})
    assert factored.id != whole.id
    assert factored.parameters(10) == whole.parameters(10) - 1200 + 1143
    pruned = candidate({"stage2.block1.inner": 16}, stage2__block1__expand={"method": "svd", "rank": 15})
    assert pruned.id == candidate({"stage2.block1.inner": 16}).id  # as pruned it has 400 parameters


def test_costs_are_of_what_results_not_of_how_it_was_asked() -> None:
    """Half of 1200 parameters: rank r has 25 r + 48 r + 48."""
    by_ratio = candidate(stage2__block1__expand={"method": "svd", "ratio": 0.5})
    by_rank = candidate(stage2__block1__expand={"method": "svd", "rank": 7})
    assert by_ratio.id != by_rank.id
    assert by_ratio.structure_id(10) == by_rank.structure_id(10)
    assert by_ratio.structure_id(10) != candidate().structure_id(10)
    wide = [candidate(stage1__block1__conv2={"method": name, "rank": 3}) for name in ("spatial_svd", "svd", "cp")]
    assert len({one.structure_id(10) for one in wide}) == 3


def test_factors_have_the_format_of_the_whole() -> None:
    steps = {"low_rank": {"stage1.block1.conv1": {"method": "tucker", "rank": [3, 4]}}}
    plan = CompressionPlan(steps=steps, formats={"stage1.block1.conv1": "int4", "classifier": "int8"})
    found = Candidate(architecture=ARCHITECTURE, plan=plan)
    factors = tuple(f"stage1.block1.conv1.{number}" for number in range(3))
    assert found.integer_layers(10) == ("classifier", *factors)
    whole = Candidate(architecture=ARCHITECTURE, plan=CompressionPlan(formats=plan.formats))
    assert found.weight_bytes(10) < whole.weight_bytes(10)


def test_of_ranks_that_weights_tell_the_least_is_known() -> None:
    given = candidate(stage1__block1__conv1={"method": "svd", "energy": 0.9})
    assert given.depends_on_weights
    assert given.parameters(10) == candidate().parameters(10)
    assert given.least(10).parameters(10) == candidate(stage1__block1__conv1={"method": "svd", "rank": 1}).parameters(
        10
    )
    resulted = given.plan.model_copy(
        update={"steps": {"low_rank": {"stage1.block1.conv1": {"method": "svd", "rank": 5, "settled": True}}}}
    )
    assert given.resulting(resulted).parameters(10) == candidate(
        stage1__block1__conv1={"method": "svd", "rank": 5}
    ).parameters(10)


def test_genes_are_asked_where_a_choice_can_have_an_effect() -> None:
    found = gene_choices(study(low_rank=(None, {"method": "spatial_svd", "ratio": 0.5}), granularity="layer"))
    asked = {name.removesuffix(".low_rank"): choices for name, choices in found.items() if name.endswith(".low_rank")}
    assert set(asked.values()) == {("none", "spatial_svd ratio 0.5")}
    assert {name.rpartition(".")[2] for name in asked} == {"conv1", "conv2", "expand", "conv"} & {
        name.rpartition(".")[2] for name in asked
    }
    assert not {"stem.conv", "classifier", "head.conv"} & set(asked)
    with_svd = gene_choices(study(low_rank=(None, {"method": "svd", "ratio": 0.5})))
    assert "head.low_rank" in with_svd
    assert not {"stem.low_rank", "classifier.low_rank"} & set(with_svd)


def test_a_single_way_is_no_gene() -> None:
    """And of each layer that it fits, unless that would be no smaller."""
    alone = study(low_rank={"method": "svd", "ratio": 0.5})
    assert gene_choices(alone) == gene_choices(study())
    assert space_size(alone.space, alone.compression) == space_size(alone.space, study().compression)
    found = drawn_factored(0, low_rank={"method": "svd", "ratio": 0.5}).plan.steps["low_rank"]
    assert set(map(str, found.values())) == {"{'method': 'svd', 'ratio': 0.5}"}


@pytest.mark.parametrize("fields", [{}, {"remove_blocks": (True, False)}])
@pytest.mark.parametrize("place", range(4))
def test_weights_may_decide_wherever_the_choice_stands(place: int, fields: dict[str, Any]) -> None:
    """Beside kinds of blocks in which it meets no layer."""
    ways: list[Any] = [None, {"method": "svd", "ratio": 0.25}, {"method": "svd", "ratio": 0.5}]
    assert not may_depend_on_weights(study(low_rank=tuple(ways), **fields))
    ways.insert(place, {"method": "tucker", "energy": 0.9})
    assert may_depend_on_weights(study(low_rank=tuple(ways), **fields))


def test_corners_are_ordered_by_what_is_left() -> None:
    ways = (None, {"method": "svd", "ratio": 0.25}, {"method": "svd", "energy": 0.9}, {"method": "svd", "ratio": 0.75})
    given = study(low_rank=ways)
    assert may_depend_on_weights(given)
    assert not may_depend_on_weights(study(low_rank=ways[:2]))
    corners = extreme_candidates(given)
    assert "low_rank" not in corners["largest"].plan.steps
    ranks = {Factoring.model_validate(one).rank for one in corners["smallest"].plan.steps["low_rank"].values()}
    assert ranks == {1}
    stronger = extreme_candidates(study(low_rank=(None, ways[3])))["smallest"]
    assert corners["smallest"].parameters(10) < stronger.parameters(10)
    ordered = sorted(given.compression.low_rank_choices, key=share_left)
    assert [str(choice) for choice in ordered] == ["svd energy 0.9", "svd ratio 0.75", "svd ratio 0.25", "None"]


def test_more_choices_are_more_candidates() -> None:
    alone, several = study(), study(low_rank=(None, {"method": "svd", "ratio": 0.5}))
    assert space_size(several.space, several.compression) > space_size(alone.space, alone.compression)


def test_the_model_of_accuracy_sees_what_layers_lost() -> None:
    """16 * 24 * 9 = 3456 weights became 16 * 9 * 4 + 4 * 24 = 672; the widths are those of the whole layers."""
    features = Features(2, ("residual", "inverted_residual"))
    given = candidate(stage1__block1__conv1={"method": "svd", "rank": 4})
    found, whole = (dict(zip(features.names, features(one, 10), strict=True)) for one in (given, candidate()))
    assert found["factored"] == pytest.approx(1 - 672 / 3456)
    assert whole["factored"] == 0
    assert {name for name in found if found[name] != whole[name]} >= {"factored", "log_parameters", "log_macs"}
    assert found["stage1.log_width"] == whole["stage1.log_width"] == pytest.approx(math.log(25))
    cp = candidate(stage1__block1__conv1={"method": "cp", "rank": 4})
    lost = 1 - (16 * 4 + 4 * 3 + 4 * 3 + 4 * 24) / 3456
    assert dict(zip(features.names, features(cp, 10), strict=True))["factored"] == pytest.approx(lost)
    assert features(cp, 10).tolist() != features(given, 10).tolist()


def test_the_model_of_accuracy_tells_choices_apart_whose_ranks_are_not_known() -> None:
    features = Features(2, ("residual", "inverted_residual"))
    ways: list[dict[str, Any]] = [{"energy": 0.99}, {"energy": 0.9}, {"vbmf": True}, {"energy": 0.3}]
    given = [candidate(stage1__block1__conv1={"method": "svd", **way}) for way in ways]
    found = [dict(zip(features.names, features(one, 10), strict=True))["factored"] for one in given]
    assert found == sorted(found)
    assert len(set(found)) == len(found)
    assert found[1] == pytest.approx(0.1)


def test_studies_that_cannot_be_are_refused_with_their_key() -> None:
    for given, place in (
        ({"method": "svd", "ratio": 1.0}, ("low_rank", "choice", "ratio")),
        (({"method": "svd", "ratio": 1.0},), ("low_rank", "choices", 0, "ratio")),
        ({"method": "svd", "ranks": 3}, ("low_rank", "choice", "ranks")),
        ((None, None), ("low_rank",)),
    ):
        with pytest.raises(ValueError, match="low_rank") as caught:
            Compression.model_validate({"low_rank": given})
        assert place in {error["loc"] for error in caught.value.errors()}  # type: ignore[attr-defined]


def test_a_study_survives_its_own_file() -> None:
    given = Compression.model_validate({"low_rank": WAYS})
    assert Compression.model_validate({"low_rank": tuple(given.model_dump(mode="json")["low_rank"])}) == given
    assert Compression().model_dump(mode="json")["low_rank"] is None


def test_choices_that_no_layer_of_a_space_can_have() -> None:
    """Spaces of depthwise and pointwise layers have no k x k convolution but the first, which stays whole."""
    ways = ({"method": "svd", "rank": 4}, {"method": "cp", "rank": 4}, {"method": "tucker", "vbmf": True})
    compression = Compression.model_validate({"low_rank": ways})
    mobile = MobileSpace.model_validate({"preset": "8px"})
    assert idle_choices(mobile, compression, input_channels=1) == ["cp rank 4", "tucker vbmf"]
    assert idle_choices(SPACE, compression, input_channels=1) == []
    assert idle_choices(mobile, Compression(), input_channels=1) == []
