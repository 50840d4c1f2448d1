"""Candidates: canonical form, ids that never change, which genes are asked for, how many answers there are."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.plan import CompressionPlan, kept_channels
from compressors.steps import STEPS, Step
from nas.candidates.candidate import Candidate
from nas.candidates.counting import space_size
from nas.candidates.sampling import edge_formats, sample
from nas.study import Compression
from search_spaces.architecture import (
    Architecture,
    HeadConfig,
    StageConfig,
    StemConfig,
)
from search_spaces.block_configs import InvertedResidualConfig
from search_spaces.spaces import PRESETS, MixedSpace, MobileSpace, Space
from search_spaces.trials import Pick, Replay, Trial, last

PINNED = json.loads((Path(__file__).parent / "pinned_ids.json").read_text())
FULL = {"pruning_ratio": (0.0, 0.25, 0.5), "weight_format": ("fp32", "int8", "int4")}
LEVELS = ("network", "stage", "block", "layer")

TINY = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(StageConfig(width=8, stride=1, blocks=(InvertedResidualConfig(kernel=3, expansion=2),)),),
    head=HeadConfig(width=16),
)


class Recording:
    """A trial that asks another one, once per name as Optuna does, and keeps the answers."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self.genes: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if name not in self.genes:
            self.genes[name] = self._trial.suggest_categorical(name, choices)
        assert self.genes[name] in choices
        return self.genes[name]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self.suggest_categorical(name, range(low, high + 1)))


def draw_candidate(preset: str, seed: int, level: str, **compression: Any) -> tuple[Candidate, dict[str, Any]]:
    trial = Recording(Pick(random.Random(seed).choice))
    space = MobileSpace.model_validate({"preset": preset})
    candidate = sample(trial, space, freedom(level, **compression), input_channels=3)
    return candidate, trial.genes


def freedom(level: str, **fields: Any) -> Compression:
    return Compression.model_validate({**FULL, "granularity": level, **fields})


draws = st.tuples(st.sampled_from(sorted(PRESETS)), st.integers(0, 2**32), st.sampled_from(LEVELS))


@given(draws)
def test_json_round_trip(draw: tuple[str, int, str]) -> None:
    candidate, _ = draw_candidate(*draw)
    read = Candidate.from_json(json.loads(json.dumps(candidate.to_json())))
    assert read == candidate
    assert (read.id, read.to_json()) == (candidate.id, candidate.to_json())


@pytest.mark.parametrize("entry", PINNED, ids=lambda entry: entry["id"])
def test_pinned_ids(entry: Mapping[str, Any]) -> None:
    candidate = Candidate.from_json(entry["candidate"])
    assert candidate.id == entry["id"]
    assert candidate.structure_id(10) == entry["structure_id_10"]
    assert candidate.to_json() == entry["candidate"]


def test_ten_different_ids_are_pinned() -> None:
    assert len({entry["id"] for entry in PINNED}) == 10


@pytest.mark.parametrize("schema", [None, 2, "1"])
def test_other_schemas_are_refused(schema: object) -> None:
    with pytest.raises(ValueError, match=f"expected schema 1, got {schema!r}"):
        Candidate.from_json({**Candidate(architecture=TINY).to_json(), "schema": schema})


def test_json_of_a_tiny_candidate() -> None:
    plan = CompressionPlan(kept={"stage1.block1.inner": 8}, formats={"stem.conv": "int8", "classifier": "fp32"})
    assert Candidate(architecture=TINY, plan=plan).to_json() == {
        "schema": 1,
        "architecture": {
            "input_size": 8,
            "input_channels": 1,
            "stem": {"width": 8},
            "stages": [{"width": 8, "stride": 1, "blocks": [{"kernel": 3, "expansion": 2}]}],
            "head": {"width": 16},
        },
        "plan": {"kept": {"stage1.block1.inner": 8}, "formats": {"stem.conv": "int8"}},
    }


def test_choices_without_effect_drop_out() -> None:
    bare = Candidate(architecture=TINY)
    idle = CompressionPlan(kept={"stage1.block1.inner": 16}, formats={"stem.conv": "fp32"})
    assert "plan" not in bare.to_json()
    assert Candidate(architecture=TINY, plan=idle).id == bare.id
    assert Candidate.from_json({**bare.to_json(), "plan": idle.model_dump()}) == bare


def test_order_of_decisions_does_not_count() -> None:
    there: dict[str, Literal["int8", "int4"]] = {"stem.conv": "int8", "head.conv": "int4"}
    plans = [CompressionPlan(formats=formats) for formats in (there, dict(reversed(there.items())))]
    texts = [json.dumps(Candidate(architecture=TINY, plan=plan).to_json()) for plan in plans]
    assert texts[0] == texts[1]


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


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"kept": {"stage1.block1.inner": 24}}, "keeps 24 channels of stage1.block1.inner, which has 16"),
        ({"kept": {"stage1.block2.inner": 8}}, "names stage1.block2.inner, which"),
        ({"formats": {"stage1.block1.inner": "int8"}}, "names stage1.block1.inner, which"),
        ({"formats": {"stem.conv": "int9"}}, "int9"),
        ({"kept": {"stage1.block1.inner": 0}}, "greater than or equal to 1"),
        ({"ranks": {}}, "ranks"),
    ],
)
def test_wrong_plans_are_refused(plan: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Candidate.from_json({**Candidate(architecture=TINY).to_json(), "plan": plan})


# Steps of one's own in a plan.


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(plan: CompressionPlan) -> Any:
        return plan.steps.get("toy")

    monkeypatch.setitem(STEPS, "toy", Step("toy", asked=asked, method=None, after=("pruned",)))


def with_steps(**steps: Any) -> Candidate:
    return Candidate(architecture=TINY, plan=CompressionPlan(kept={"stage1.block1.inner": 8}, steps=steps))


@pytest.mark.usefixtures("toy")
def test_a_step_of_one_s_own_is_a_part_of_the_id() -> None:
    one, other = with_steps(toy={"head.conv": 0.5, "a": [1, 2]}), with_steps(toy={"head.conv": 0.25})
    plain = with_steps()
    assert len({one.id, other.id, plain.id}) == 3
    assert len({c.structure_id(10) for c in (one, other, plain)}) == 3
    assert one.to_json()["plan"]["steps"] == {"toy": {"a": [1, 2], "head.conv": 0.5}}
    assert Candidate.from_json(json.loads(json.dumps(one.to_json()))).id == one.id


@pytest.mark.usefixtures("toy")
def test_a_step_that_is_asked_nothing_drops_out() -> None:
    empty = with_steps(toy={})
    assert empty.id == with_steps().id
    assert empty.structure_id(10) == with_steps().structure_id(10)
    assert "steps" not in empty.to_json()["plan"]


def test_a_step_that_the_table_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="compression steps: expected some of pruned, quantized, got toy"):
        with_steps(toy={"head.conv": 0.5}).to_json()


def test_steps_that_cannot_be_combined_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Step("toy", asked=lambda plan: plan.steps.get("toy"), method=None, reason="it needs all channels")
    monkeypatch.setitem(STEPS, "toy", row)
    with pytest.raises(ValueError, match=r"pruned and toy cannot be combined: .*it needs all channels"):
        with_steps(toy={"head.conv": 0.5}).to_json()


def test_costs_in_closed_form() -> None:
    formats: dict[str, Literal["int8", "int4"]] = {"stage1.block1.expand": "int4", "head.conv": "int8"}
    plan = CompressionPlan(kept={"stage1.block1.inner": 8}, formats=formats)
    candidate = Candidate(architecture=TINY, plan=plan)
    stem, expand, depthwise, project, head, classifier = 8 * 9, 8 * 8, 8 * 9, 8 * 8, 8 * 16, 16 * 10
    biases = 8 + 8 + 8 + 8 + 16 + 10
    assert candidate.parameters(10) == stem + expand + depthwise + project + head + classifier + biases
    assert candidate.macs(10) == 64 * (stem + expand + depthwise + project + head) + classifier
    fp32 = stem + depthwise + project + classifier
    assert candidate.weight_bytes(10) == 4 * fp32 + expand // 2 + head + 4 * biases


def test_structure_id_changes_with_all_that_costs_depend_on() -> None:
    pruned = CompressionPlan(kept={"stage1.block1.inner": 8})
    coarse = CompressionPlan(formats={"stem.conv": "int8"})
    block = InvertedResidualConfig(kernel=3, expansion=2, activation="hardswish")
    variants = [
        Candidate(architecture=TINY),
        Candidate(architecture=TINY, plan=pruned),
        Candidate(architecture=TINY, plan=coarse),
        Candidate(architecture=TINY.model_copy(update={"input_size": 16})),
        Candidate(architecture=TINY.model_copy(update={"head": HeadConfig(width=16, activation="relu6")})),
        Candidate(architecture=TINY.model_copy(update={"stages": (StageConfig(width=8, stride=1, blocks=(block,)),)})),
    ]
    ids = [variant.structure_id(10) for variant in variants]
    assert len({*ids, variants[0].structure_id(11)}) == len(variants) + 1


def test_structure_id_tells_a_skip_from_none() -> None:
    """Both blocks read and write 8 channels; where 16 were cut to 8 there is nothing to add them to."""
    block = InvertedResidualConfig(kernel=3, expansion=2)
    wide = TINY.model_copy(update={"stages": (StageConfig(width=16, stride=1, blocks=(block,)),)})
    (group,) = [group for group in wide.all_groups() if ("stage1.block1.project", 0) in group.members]
    cut = Candidate(architecture=wide, plan=CompressionPlan(kept={group.name: 8}))
    assert [layer.out_channels for layer in cut.layers(10)] == [
        layer.out_channels for layer in Candidate(architecture=TINY).layers(10)
    ]
    assert cut.structure_id(10) != Candidate(architecture=TINY).structure_id(10)


def test_structure_id_does_not_tell_a_pruned_network_from_one_built_as_narrow() -> None:
    wide = InvertedResidualConfig(kernel=3, expansion=4)
    architecture = TINY.model_copy(update={"stages": (StageConfig(width=8, stride=1, blocks=(wide,)),)})
    pruned = Candidate(architecture=architecture, plan=CompressionPlan(kept={"stage1.block1.inner": 16}))
    assert pruned.structure_id(10) == Candidate(architecture=TINY).structure_id(10)
    assert pruned.id != Candidate(architecture=TINY).id


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


@given(draws, st.sampled_from([8, 16]))
def test_kept_channels_lie_on_the_grid(draw: tuple[str, int, str], grid: int) -> None:
    preset, seed, level = draw
    own = {**PRESETS[preset], "width_grid": grid, "stem_widths": (32,), "head_widths": (64,)}
    own["stages"] = [{**stage, "widths": (48, 96)} for stage in own["stages"]]
    trial = Recording(Pick(random.Random(seed).choice))
    candidate = sample(trial, MobileSpace.model_validate(own), freedom(level), input_channels=3)
    assert all(kept % grid == 0 and kept > 0 for kept in candidate.plan.kept.values())


@pytest.mark.parametrize(
    ("width", "ratio", "grid", "expected"),
    [
        (48, 0.0, 8, 48),
        (48, 0.5, 8, 24),
        (48, 0.25, 8, 40),
        (48, 0.9, 8, 8),
        (8, 0.875, 8, 8),
        (96, 0.3, 16, 64),
        (24, 0.0, 16, 24),
    ],
)
def test_kept_channels(width: int, ratio: float, grid: int, expected: int) -> None:
    assert kept_channels(width, ratio, grid) == expected


@pytest.mark.parametrize("ratio", [-0.1, 1.0])
def test_kept_channels_refuses_ratios_out_of_range(ratio: float) -> None:
    with pytest.raises(ValueError, match=f"got {ratio}"):
        kept_channels(8, ratio, 8)


class Odometer:
    """Walks all answers: `digits` holds, per question in order, its choices and the answer's place in them."""

    def __init__(self, digits: list[tuple[Sequence[Any], int]]) -> None:
        self._digits, self._at = digits, 0

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if self._at == len(self._digits):
            self._digits.append((choices, 0))
        asked, place = self._digits[self._at]
        self._at += 1
        return asked[place]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self.suggest_categorical(name, range(low, high + 1)))


def assignments(space: Space, compression: Compression) -> Iterator[frozenset[tuple[str, Any]]]:
    """Every way to answer what `sample` asks."""
    digits: list[tuple[Sequence[Any], int]] = []
    while True:
        trial = Recording(Odometer(digits))
        sample(trial, space, compression, input_channels=1)
        yield frozenset(trial.genes.items())
        while digits and digits[-1][1] == len(digits[-1][0]) - 1:
            digits.pop()
        if not digits:
            return
        choices, place = digits.pop()
        digits.append((choices, place + 1))


def small_space(stages: Sequence[tuple[int, ...]], **fields: Any) -> MobileSpace:
    own = {
        "input_size": 8, "stem_widths": (8,), "head_widths": (8,), "kernels": (3,), "expansions": (1, 2),
        "squeeze_excite": (False,), "activations": ("relu",),
    }  # fmt: skip
    table = [{"depths": depths, "widths": (8,)} for depths in stages]
    return MobileSpace.model_validate({**own, "stages": table, **fields})


def mixed_space(depths: tuple[int, ...], **fields: Any) -> MixedSpace:
    own = {
        "family": "mixed", "input_size": 8, "stem_widths": (8,), "head_widths": (8,),
        "stages": ({"depths": depths, "widths": (8, 16)},),
        "blocks": {
            "inverted_residual": {"kernels": (3,), "expansions": (1, 2)},
            "residual": {"kernels": (3,), "expansions": (1,)},
            "shuffle": {"kernels": (3,), "expansions": (1,)},
        },
    }  # fmt: skip
    return MixedSpace.model_validate({**own, **fields})


TWO_FORMATS = {"weight_format": ("fp32", "int4"), "pruning_ratio": (0.0, 0.5)}


@pytest.mark.parametrize(
    ("space", "compression"),
    [
        (small_space([(1, 2), (1, 3)], head_widths=(8, 16)), freedom("network")),
        (small_space([(1, 2), (1, 2)]), freedom("stage", **TWO_FORMATS)),
        (small_space([(1, 2), (1,)]), freedom("block", **TWO_FORMATS)),
        (small_space([(1, 2)]), freedom("layer", **TWO_FORMATS)),
        (small_space([(1,)], squeeze_excite=(False, True)), freedom("layer", **TWO_FORMATS)),
        (small_space([(1,)], expansions=(1,)), freedom("stage", edges_below_int8=True)),
        (small_space([(2,)], stem_widths=(8, 16)), freedom("block", weight_format=("int4",))),
        (small_space([(2,)]), freedom("layer", pruning_ratio=(0.5,), weight_format=("int4", "int8"))),
        (mixed_space((1, 2), head_widths=(0, 8)), freedom("network", **TWO_FORMATS)),
        (mixed_space((1, 2), input_size=(8, 16)), freedom("stage", **TWO_FORMATS)),
        (mixed_space((1, 2), head_widths=(0, 8)), freedom("block", **TWO_FORMATS)),
        (mixed_space((1,), head_widths=(0, 8)), freedom("layer", **TWO_FORMATS)),
        (mixed_space((1, 2)), freedom("network", pruning_ratio=(0.0, 0.5), stage_widths=True)),
    ],
)
def test_space_size_counts_all_answers(space: Space, compression: Compression) -> None:
    found = list(assignments(space, compression))
    assert len(set(found)) == len(found) == space_size(space, compression)
