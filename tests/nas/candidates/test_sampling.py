"""How a candidate is drawn: which genes are asked for, and what a plan makes of their answers."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest
from candidates import FULL, Recording, draw_candidate, draws, freedom
from hypothesis import given
from hypothesis import strategies as st

from compressors.plan import CompressionPlan, kept_channels
from compressors.steps import ANYTHING, STEPS, Step
from nas.candidates.candidate import Candidate
from nas.candidates.counting import candidates_of
from nas.candidates.sampling import DRAWS, edge_formats, sample, sample_of
from nas.study import Compression, Study
from search_spaces.architecture import Architecture
from search_spaces.spaces import PRESETS, MobileSpace
from search_spaces.trials import Pick, Replay, Trial, ask, first, last


def test_two_spellings_of_a_result_are_one_candidate() -> None:
    space = MobileSpace.model_validate({"preset": "8px"})
    compression = Compression(pruning_ratio=(0.0, 0.01, 0.5))
    recorded = Recording(Pick(last))
    sample(recorded, space, compression, input_channels=1)
    ids = set()
    for ratio in (0.0, 0.01, 0.5):
        genes = {name: ratio if name.endswith("_ratio") else gene for name, gene in recorded.genes.items()}
        ids.add(sample(Replay(genes), space, compression, input_channels=1).id)
    assert len(ids) == 2


@given(draws)
def test_recorded_genes_give_the_candidate_again(draw: tuple[str, int, str]) -> None:
    preset, _, level = draw
    candidate, genes = draw_candidate(*draw)
    space = MobileSpace.model_validate({"preset": preset})
    assert sample(Replay(genes), space, freedom(level), input_channels=3) == candidate


@given(draws)
def test_only_genes_with_an_effect_are_asked_for(draw: tuple[str, int, str]) -> None:
    candidate, genes = draw_candidate(*draw)
    level, architecture = draw[2], candidate.architecture
    blocks = {site.name: site.config for site in architecture.blocks()}
    asked_blocks = {".".join(name.split(".")[:2]) for name in genes if ".block" in name}
    assert asked_blocks == set(blocks)
    ratios = {name.removesuffix(".pruning_ratio") for name in genes if name.endswith(".pruning_ratio")}
    pruned = {name for name, config in blocks.items() if config.expansion > 1}
    scopes = {"network": {"network"} if pruned else set(), "stage": {name.split(".")[0] for name in pruned}}
    assert ratios == scopes.get(level, pruned)


@given(draws)
def test_compression_follows_the_genes(draw: tuple[str, int, str]) -> None:
    """The plan spelt out from the genes, layer by layer, by the words of the design."""
    candidate, genes = draw_candidate(*draw)
    layers = candidate.architecture.layers(10)
    for layer in layers:
        scope = {
            "network": "network",
            "stage": layer.block.split(".")[0],
            "block": layer.block,
            "layer": layer.name,
        }
        asked = genes[f"{scope[draw[2]]}.weight_format"]
        is_edge = layer in (layers[0], layers[-1])
        assert candidate.plan.format_of(layer.name) == ("int8" if is_edge and asked == "int4" else asked)
    for group in candidate.architecture.groups():
        scope = {"network": "network", "stage": group.block.split(".")[0]}
        ratio = genes[f"{scope.get(draw[2], group.block)}.pruning_ratio"]
        assert candidate.plan.kept.get(group.name, group.width) == kept_channels(group.width, ratio, 8)


@given(draws)
def test_edges_stay_at_eight_bits_unless_the_study_says_otherwise(draw: tuple[str, int, str]) -> None:
    fine, genes = draw_candidate(*draw, weight_format=("int4", "fp32"))
    assert {fine.plan.format_of(name) for name in ("stem.conv", "classifier")} <= {"fp32", "int8"}
    if draw[2] != "network":
        stem = "stem.conv" if draw[2] == "layer" else "stem"
        assert {genes[f"{edge}.weight_format"] for edge in (stem, "classifier")} <= {"int8", "fp32"}
    coarse, _ = draw_candidate(*draw, weight_format=("int4",), edges_below_int8=True)
    assert {layer.name for layer in coarse.layers(10)} == set(coarse.plan.formats)
    assert set(coarse.plan.formats.values()) == {"int4"}


def test_edge_formats() -> None:
    assert edge_formats(freedom("block")) == ("fp32", "int8")
    assert edge_formats(freedom("block", weight_format=("int4", "int8"))) == ("int8",)
    assert edge_formats(freedom("block", edges_below_int8=True)) == FULL["weight_format"]
    further = ("ternary", "binary", "codebook4", "pow2", "int8_asymmetric")
    assert edge_formats(freedom("block", weight_format=further)) == ("int8", "pow2", "int8_asymmetric")


@given(draws, st.sampled_from([8, 16]))
def test_kept_channels_lie_on_the_grid(draw: tuple[str, int, str], grid: int) -> None:
    preset, seed, level = draw
    own = {**PRESETS[preset], "width_grid": grid, "stem_widths": (32,), "head_widths": (64,)}
    own["stages"] = [{**stage, "widths": (48, 96)} for stage in own["stages"]]
    trial = Recording(Pick(random.Random(seed).choice))
    candidate = sample(trial, MobileSpace.model_validate(own), freedom(level), input_channels=3)
    assert all(kept % grid == 0 and kept > 0 for kept in candidate.plan.kept.values())


def test_a_draw_is_a_row_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy draw in place of the formats: every layer int2, and no gene for it."""

    def coarsest(trial: Trial, architecture: Architecture, compression: Compression, *, grid: int) -> dict[str, str]:
        return {layer.name: "int2" for layer in architecture.layers(1)}

    monkeypatch.setitem(DRAWS, "formats", coarsest)
    candidate, genes = draw_candidate("8px", 0, "block")
    assert set(candidate.plan.formats.values()) == {"int2"}
    assert not [name for name in genes if name.endswith("weight_format")]


def test_a_step_is_drawn_by_a_row_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy step that halves ranks: its gene is asked for last, its decisions stand in the plan under its name."""

    def ranks(trial: Trial, architecture: Architecture, compression: Compression, *, grid: int) -> dict[str, int]:
        return {"stem.conv": ask(trial, "network.rank", (4, 8))}

    def asked(plan: CompressionPlan) -> Mapping[str, Any] | None:
        return plan.steps.get("halved_rank") or None

    monkeypatch.setitem(STEPS, "halved_rank", Step("halved_rank", asked=asked, method=None, after=ANYTHING))
    monkeypatch.setitem(DRAWS, "halved_rank", ranks)
    candidate, genes = draw_candidate("8px", 0, "block")
    assert list(genes)[-1] == "network.rank"
    assert candidate.plan.steps == {"halved_rank": {"stem.conv": genes["network.rank"]}}
    assert Candidate.from_json(candidate.to_json()) == candidate


GLOBAL = Compression(pruning_ratio=(0.0, 0.5), pruning_scope="global")


@pytest.mark.parametrize("granularity", ["network", "stage", "block", "layer"])
def test_a_budget_is_one_gene_of_the_network(granularity: Any) -> None:
    """Whatever shares formats; what is in it is said in full, since the study is no part of a candidate."""
    space = MobileSpace.model_validate({"preset": "8px"})
    recorded = Recording(Pick(last))
    compression = GLOBAL.model_copy(update={"granularity": granularity})
    candidate = sample(recorded, space, compression, input_channels=1)
    assert [name for name in recorded.genes if name.endswith("pruning_ratio")] == ["network.pruning_ratio"]
    inner = [group.name for group in candidate.architecture.groups()]
    asked = {"network": {"ratio": 0.5, "grid": space.width_grid, "groups": inner}}
    assert (candidate.plan.kept, candidate.plan.steps) == ({}, {"pruned": asked})
    assert Candidate.from_json(candidate.to_json()) == candidate


def test_a_budget_is_shared_by_the_blocks_that_stay() -> None:
    space = MobileSpace.model_validate({"preset": "8px"})
    compression = GLOBAL.model_copy(update={"remove_blocks": (True,)})
    candidate = sample(Pick(last), space, compression, input_channels=1)
    left = [group.name for group in candidate.groups() if group.name.endswith(".inner")]
    assert 0 < len(left) < len(candidate.architecture.groups())
    assert candidate.plan.steps["pruned"]["network"]["groups"] == left  # type: ignore[index, call-overload]
    assert Candidate.from_json(candidate.to_json()) == candidate


def test_a_budget_holds_the_widths_between_blocks_where_the_study_says_so() -> None:
    space = MobileSpace.model_validate({"preset": "8px"})
    compression = GLOBAL.model_copy(update={"stage_widths": True})
    candidate = sample(Pick(last), space, compression, input_channels=1)
    assert candidate.plan.steps["pruned"] == {"network": {"ratio": 0.5, "grid": space.width_grid}}
    unpruned = Replay({**_genes(space, compression), "network.pruning_ratio": 0.0})
    nothing = sample(unpruned, space, compression, input_channels=1)
    assert nothing.plan == CompressionPlan()


def _genes(space: MobileSpace, compression: Compression) -> dict[str, Any]:
    recorded = Recording(Pick(last))
    sample(recorded, space, compression, input_channels=1)
    return dict(recorded.genes)


def a_study(**training: Any) -> Study:
    compression = {"weight_format": ["int8", "fp32"], "granularity": "network"}
    sections = {"data": {"source": "digits"}, "space": {"family": "mobile", "preset": "8px"}}
    return Study.model_validate_json(
        json.dumps({"name": "t", **sections, "compression": compression, "training": training})
    )


@pytest.mark.parametrize(("way", "step"), [("aware", None), ("static", "calibrated"), ("dynamic", "dynamic")])
def test_how_formats_are_brought_about_is_drawn(way: str, step: str | None) -> None:
    study = a_study(quantization={"choices": ["static", "aware", "dynamic"]})
    trial = Recording(Pick(lambda choices: way if way in choices else choices[0]))
    candidate = sample_of(trial, study)
    assert trial.genes["training.quantization"] == way
    assert candidate.plan.steps == ({step: {"network": True}} if step else {})
    assert Candidate.from_json(candidate.to_json()) == candidate
    every = {layer.name for layer in candidate.layers(1)}
    assert set(candidate.plan.formats) == ({"classifier"} if way == "dynamic" else every)
    assert candidates_of(study) == 3 * candidates_of(a_study())


def test_a_network_of_floats_is_the_same_however_it_would_be_quantized() -> None:
    study = a_study(quantization={"choices": ["aware", "static", "dynamic"]})
    drawn = []
    for way in study.training.quantizations:
        picked = Pick(lambda choices, way=way: way if way in choices else choices[-1])
        drawn.append(sample_of(picked, study).id)
    assert len(set(drawn)) == 1


def test_one_way_is_not_asked_for() -> None:
    trial = Recording(Pick(first))
    assert sample_of(trial, a_study(quantization="static")).plan.steps == {"calibrated": {"network": True}}
    assert "training.quantization" not in trial.genes
