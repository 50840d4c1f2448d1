"""Masks of candidates: how they are drawn and counted, what they are certain to cost, what a model sees of them."""

from __future__ import annotations

import random
from typing import Any

import pytest
from candidates import Recording
from hypothesis import given
from hypothesis import strategies as st
from step_examples import ARCHITECTURE as FUSED

from compressors.plan import CompressionPlan
from compressors.requests.masked import asked
from nas.candidates.candidate import Candidate, canonical
from nas.candidates.corners import extreme_candidates
from nas.candidates.counting import space_size
from nas.candidates.features import Features
from nas.candidates.genes import gene_choices, may_depend_on_weights
from nas.candidates.masking import check_masks
from nas.candidates.sampling import sample
from nas.candidates.zeros import mask_of_plan, stored_bits, zeros_in
from nas.study import Compression, Study
from search_spaces.layers import LayerSpec
from search_spaces.spaces import MobileSpace
from search_spaces.trials import Pick, first

SPACE = MobileSpace.model_validate({"preset": "8px"})
CHOICES = [None, {"ratio": 0.5}, {"ratio": 0.9, "by": "sensitivity"}]
GLOBAL = [{"ratio": 0.5, "scope": "global"}, {"ratio": 0.9, "scope": "global"}]


def compression(mask: Any, **fields: Any) -> Compression:
    return Compression.model_validate({"mask": mask, **fields})


def study(mask: Any, **fields: Any) -> Study:
    whole = {"name": "t", "data": {"source": "digits"}, "space": {"preset": "8px"}}
    return Study.model_validate({**whole, "compression": {"mask": mask, **fields}})


def drawn(mask: Any, seed: int = 0, **fields: Any) -> Candidate:
    trial = Recording(Pick(random.Random(seed).choice))
    return sample(trial, SPACE, compression(mask, **fields), input_channels=1)


def layers(candidate: Candidate) -> list[str]:
    return [layer.name for layer in candidate.architecture.layers(10)]


@pytest.mark.parametrize("level", ["network", "stage", "block", "layer"])
def test_what_shares_a_choice_has_one_amount(level: str) -> None:
    genes = {name for name in gene_choices(study(CHOICES, granularity=level)) if name.endswith(".mask")}
    candidate = drawn(CHOICES, granularity=level)
    amounts = candidate.plan.steps["masked"]
    assert set(amounts) <= set(layers(candidate))
    scopes = {"network": lambda _: "", "stage": lambda name: name.split(".")[0], "layer": str}
    scope = scopes.get(level, lambda name: ".".join(name.split(".")[: 2 if name.startswith("stage") else 1]))
    shared: dict[str, set[str]] = {}
    for name in layers(candidate):
        shared.setdefault(scope(name), set()).add(str(amounts.get(name)))
    assert all(len(values) == 1 for values in shared.values())
    assert ("network.mask" in genes) == (level == "network")
    assert canonical(candidate).plan == candidate.plan == Candidate.from_json(candidate.to_json()).plan


def test_one_budget_is_a_gene_of_the_network() -> None:
    genes = gene_choices(study(GLOBAL, granularity="layer"))
    assert genes["network.mask"] == ("0.5", "0.9")
    candidate = drawn(GLOBAL, granularity="layer")
    assert candidate.plan.steps["masked"] in ({"network": {"ratio": 0.5}}, {"network": {"ratio": 0.9}})
    assert candidate.depends_on_weights
    assert may_depend_on_weights(study(GLOBAL))
    assert may_depend_on_weights(study([None, {"threshold": 0.1}]))
    assert not may_depend_on_weights(study(CHOICES))


def test_without_masks_candidates_are_as_they_were() -> None:
    plain = sample(Pick(first), SPACE, Compression(), input_channels=1)
    assert drawn(None).plan.steps == {}
    assert sample(Pick(first), SPACE, compression([None]), input_channels=1).id == plain.id
    assert space_size(SPACE, compression(CHOICES)) > space_size(SPACE, Compression())
    assert space_size(SPACE, compression(GLOBAL)) == 2 * space_size(SPACE, Compression())


def test_what_zeroes_nothing_is_no_decision() -> None:
    plain = drawn(None)
    name, small = plain.layers(10)[0].name, 0.4 / max(layer.weight_count for layer in plain.layers(10))
    for masks in ({name: {"ratio": 0.0}}, {name: {"ratio": small}}, {"network": {"ratio": 0.0}}):
        found = canonical(plain.model_copy(update={"plan": CompressionPlan(steps={"masked": masks})}))
        assert (found.id, found.plan.steps) == (plain.id, {})
    kept = canonical(plain.model_copy(update={"plan": CompressionPlan(steps={"masked": {name: {"zeros": 1}}})}))
    assert kept.plan.steps == {"masked": {name: {"zeros": 1}}}


def test_what_becomes_of_the_classifier_depends_on_its_classes() -> None:
    """One weight in a hundred is none of its weights for one class, and some of those for ten."""
    plain = drawn(None)
    plan = CompressionPlan(steps={"masked": {"classifier": {"ratio": 0.4 / plain.layers(1)[-1].weight_count}}})
    found = canonical(plain.model_copy(update={"plan": plan}))
    assert zeros_in(found.layers(10)[-1], mask_of_plan(found.plan)) == 4
    none = CompressionPlan(steps={"masked": {"classifier": {"ratio": 0.0}}})
    assert canonical(plain.model_copy(update={"plan": none})).id == plain.id


def test_layers_that_there_are_not_are_refused() -> None:
    plan = CompressionPlan(steps={"masked": {"stage9.block1.expand": {"ratio": 0.5}}})
    with pytest.raises(ValueError, match=r"masked of stage9.block1.expand: this architecture does not have"):
        canonical(drawn(None).model_copy(update={"plan": plan}))
    plan = CompressionPlan(steps={"masked": {"stem.conv": {"ratio": 1.5}}})
    with pytest.raises(ValueError, match=r"stem.conv: mask.ratio: expected a number .* got 1.5"):
        canonical(drawn(None).model_copy(update={"plan": plan}))


def test_layers_of_blocks_that_are_removed_have_no_masks() -> None:
    fields = {"remove_blocks": (True,), "low_rank": {"method": "svd", "ratio": 0.5}}
    candidate = next(
        c for seed in range(20) if (c := drawn([{"ratio": 0.5}], seed, **fields)).plan.steps.get("blocks_removed")
    )
    gone = tuple(candidate.plan.steps["blocks_removed"])
    assert not [
        name for name in candidate.plan.steps["masked"] if name.startswith(tuple(f"{block}." for block in gone))
    ]
    assert canonical(candidate).plan == candidate.plan
    record = mask_of_plan(candidate.plan)
    assert any(layer.name[-2:] == ".0" for layer in candidate.layers(10))
    for layer in candidate.layers(10):
        assert zeros_in(layer, record) == round(0.5 * layer.weight_count)


def test_corners_have_the_strongest_masks_and_none() -> None:
    corners = extreme_candidates(study([{"ratio": 0.5}, None, {"ratio": 0.9}]))
    smallest = corners["smallest"].plan.steps["masked"]
    assert all(amount == {"ratio": 0.9} for amount in smallest.values())
    assert "masked" not in corners["largest"].plan.steps


def test_weights_take_a_mask_and_what_is_left_or_all() -> None:
    layer = LayerSpec("a", "a", "pointwise", 10, 20)
    assert stored_bits(layer, "int8", 100) == 200 + 100 * 8
    assert stored_bits(layer, "int8", 10) == 200 * 8
    assert stored_bits(layer, "int8", 0) == 200 * 8
    assert stored_bits(layer, "fp32", 100) == 200 + 100 * 32


def test_bytes_of_a_candidate_are_those_of_its_layers() -> None:
    candidate = drawn([{"ratio": 0.5}], weight_format=("int8",))
    biases = 4 * sum(layer.out_channels for layer in candidate.layers(10))
    weights = [layer.weight_count for layer in candidate.layers(10)]
    assert candidate.weight_bytes(10) == sum(n + 8 * (n - round(n / 2)) for n in weights) // 8 + biases
    assert candidate.parameters(10) == drawn(None, weight_format=("int8",)).parameters(10)


@given(st.integers(0, 2**32), st.sampled_from([0.3, 0.6, 0.95]), st.data())
def test_no_way_to_share_out_a_budget_costs_less_than_the_bound(seed: int, ratio: float, data: st.DataObject) -> None:
    """Every layer keeps a weight per channel, whatever the budget: any numbers of zeros within that cost more."""
    fields = {"weight_format": ("int8", "int4", "fp32"), "pruning_ratio": (0.0, 0.5)}
    whole = drawn([{"ratio": ratio, "scope": "global"}], seed, **fields)
    shares = data.draw(st.lists(st.floats(0, 1), min_size=len(whole.layers(10)), max_size=len(whole.layers(10))))
    most = [layer.weight_count - layer.out_channels for layer in whole.layers(10)]
    zeros = {
        layer.name: {"zeros": round(share * top)}
        for layer, share, top in zip(whole.layers(10), shares, most, strict=True)
    }
    resulted = whole.resulting(CompressionPlan.model_validate({**whole.plan.model_dump(), "steps": {"masked": zeros}}))
    assert whole.least(10).weight_bytes(10) == whole.weight_bytes(10) <= resulted.weight_bytes(10)


@pytest.mark.parametrize("amount", [{"ratio": 0.99}, {"threshold": 10.0}])
def test_a_merged_layer_may_lose_as_much_as_its_own_weights_allow(amount: dict[str, float]) -> None:
    """It has more weights per channel than the one whose name it has."""
    plan = CompressionPlan(steps={"activations_removed": {"stage2.block1": True}, "masked": {"network": amount}})
    least = canonical(Candidate(architecture=FUSED, plan=plan)).least(10)
    (merged,) = (layer for layer in least.layers(10) if layer.block == "stage2.block1")
    stays = 1 if "threshold" in amount else merged.out_channels
    assert merged.kernels == (3, 3)
    assert zeros_in(merged, mask_of_plan(least.plan)) == merged.weight_count - stays


def test_a_threshold_may_leave_one_weight_of_a_layer() -> None:
    least = drawn([{"threshold": 0.1}]).least(10)
    record = mask_of_plan(least.plan)
    assert record is not None
    assert record == asked(least.plan)
    assert all(zeros_in(layer, record) == layer.weight_count - 1 for layer in least.layers(10))


def test_a_model_of_accuracy_sees_the_share_of_zeros() -> None:
    features = Features.of(SPACE)
    masked = [index for index, name in enumerate(features.names) if name.endswith("masked")]
    assert len(masked) == 1 + len(SPACE.stages)

    def seen(mask: Any) -> list[float]:
        return list(features(sample(Pick(first), SPACE, compression(mask), input_channels=1), 10)[masked])

    assert seen(None) == [0.0] * len(masked)
    for mask in ([{"ratio": 0.5}], [{"ratio": 0.5, "scope": "global"}]):
        assert seen(mask) == pytest.approx([0.5] * len(masked))
    small, large = seen([{"threshold": 0.01}]), seen([{"threshold": 0.1}])
    assert all(0 < a < b < 1 for a, b in zip(small, large, strict=True))


def test_a_batch_norm_that_is_a_layer_has_no_mask() -> None:
    norm = LayerSpec("norm", "norm", "depthwise", 8, 8)
    with pytest.raises(ValueError, match="masked of norm: expected a convolution or a linear layer, got a batch norm"):
        check_masks({"norm": {"ratio": 0.5}}, [norm])
    check_masks({"norm": {"ratio": 0.5}}, [LayerSpec("norm", "b", "depthwise", 8, 8, 3)])
