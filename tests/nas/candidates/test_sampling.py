"""How a candidate is drawn: which genes are asked for, and what a plan makes of their answers."""

from __future__ import annotations

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
from nas.candidates.sampling import DRAWS, edge_formats, sample
from nas.study import Compression
from search_spaces.architecture import Architecture
from search_spaces.spaces import PRESETS, MobileSpace
from search_spaces.trials import Pick, Replay, Trial, ask, last


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
