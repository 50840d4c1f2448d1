"""Candidates: canonical form, ids that never change, costs in closed form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from candidates import draw_candidate, draws
from hypothesis import given

from compressors.plan import CompressionPlan
from compressors.steps import STEPS, Step
from nas.candidates.candidate import Candidate
from search_spaces.architecture import (
    Architecture,
    HeadConfig,
    StageConfig,
    StemConfig,
)
from search_spaces.block_configs import InvertedResidualConfig

PINNED = json.loads((Path(__file__).parent / "pinned_ids.json").read_text())

TINY = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(StageConfig(width=8, stride=1, blocks=(InvertedResidualConfig(kernel=3, expansion=2),)),),
    head=HeadConfig(width=16),
)


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


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"kept": {"stage1.block1.inner": 24}}, "keeps 24 channels of stage1.block1.inner, which has 16"),
        ({"kept": {"stage1.block2.inner": 8}}, "names stage1.block2.inner, which"),
        ({"formats": {"stage1.block1.inner": "int8"}}, "names stage1.block1.inner, which"),
        ({"formats": {"stem.conv": "int9"}}, "int9"),
        ({"kept": {"stage1.block1.inner": 0}}, "greater than or equal to 1"),
        ({"steps": {"pruned": {"network": {"ratio": 0.5, "groups": ["stem.inner"]}}}}, "no channel group stem.inner"),
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
    with pytest.raises(ValueError, match=f"compression steps: expected some of {', '.join(STEPS)}, got toy"):
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


WHOLE = {"network": True}


def quantized_by(step: str, **formats: str) -> Candidate:
    plan = {"formats": formats, "steps": {step: WHOLE} if step else {}}
    return Candidate(architecture=TINY, plan=CompressionPlan.model_validate(plan))


def test_a_calibrated_network_costs_what_a_trained_one_does() -> None:
    aware, static = (quantized_by(step, classifier="int8") for step in ("", "calibrated"))
    assert aware.id != static.id
    assert aware.structure_id(10) == static.structure_id(10)
    assert quantized_by("dynamic", classifier="int8").structure_id(10) != aware.structure_id(10)
    assert quantized_by("calibrated").id == quantized_by("").id


def test_a_convolution_is_not_quantized_dynamically() -> None:
    layer = next(layer.name for layer in Candidate(architecture=TINY).layers(10) if layer.kind != "linear")
    with pytest.raises(ValueError, match=f"step dynamic: expected fp32 for {layer}, a convolution, got int8"):
        quantized_by("dynamic", **{layer: "int8"}).to_json()
    with pytest.raises(ValueError, match="step dynamic: expected fp32 or int8 for classifier, got int4"):
        quantized_by("dynamic", classifier="int4").to_json()
