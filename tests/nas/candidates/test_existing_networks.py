"""Candidates of networks that exist already: what is drawn, counted, told of them and refused."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drafts import Draft, dense, residual, shuffled
from known_networks import architecture_of, study_about

from compressors.plan import CompressionPlan
from nas.candidates.baseline import GIVEN, baseline_candidate, baseline_words, quantized_baseline
from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates, float_candidate, teacher_candidate
from nas.candidates.counting import candidates_of
from nas.candidates.features import PER_STAGE, Features
from nas.candidates.genes import gene_choices
from nas.candidates.runs import runs_of
from nas.candidates.sampling import sample_of
from nas.run_folder.network import keep_network
from nas.run_folder.paths import RunFolder
from nas.search.anchors import anchors, midway
from nas.study import Distillation
from search_spaces.existing import known
from search_spaces.existing.blueprint import INPUT, Blueprint
from search_spaces.trials import Pick, first, last

FREE = {
    "pruning_ratio": [0.0, 0.25, 0.5], "weight_format": ["fp32", "int8", "int4"], "stage_widths": True,
    "mask": [None, {"ratio": 0.5}], "low_rank": [None, {"method": "svd", "ratio": 0.5}],
}  # fmt: skip


def twice() -> Blueprint:
    draft = Draft()
    x = draft.add("relu", draft.norm("bn", draft.conv("begin", INPUT, 4)))
    for name in ("body", "body_again"):
        x = draft.add("relu", draft.conv(name, x, 4, bias=True, module="body"))
    return draft.done(x)


class Asking(Pick):
    """A random trial that notes every question."""

    def __init__(self, random_: random.Random) -> None:
        super().__init__(random_.choice)
        self.asked: dict[str, tuple[Any, ...]] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.asked[name] = tuple(choices)
        return super().suggest_categorical(name, choices)


@pytest.mark.parametrize("granularity", ["network", "stage", "block", "layer"])
def test_as_many_candidates_as_there_are_answers(granularity: str) -> None:
    study = study_about(residual(), compression={**FREE, "granularity": granularity})
    trial = Asking(random.Random(1))
    sample_of(trial, study)
    assert candidates_of(study) == math.prod(map(len, trial.asked.values()))
    assert gene_choices(study) == trial.asked


def test_each_input_size_counts() -> None:
    space = {"base": "known.networks:network", "input_size": [8, 16]}
    study = study_about(residual(), space=space)
    assert candidates_of(study) == 2


def test_corners_are_the_network_and_its_strongest_compression() -> None:
    study = study_about(residual(), compression=FREE)
    found = extreme_candidates(study)
    assert found["largest"].plan == CompressionPlan()
    assert found["smallest"].parameters(10) < found["middle"].parameters(10) < found["largest"].parameters(10)
    widths = {group.name: group.width for group in found["smallest"].architecture.all_groups()}
    assert found["smallest"].plan.kept == {name: -(-width // 2) for name, width in widths.items()}


def test_the_network_itself_teaches_and_is_the_baseline() -> None:
    study = study_about(residual(), compression=FREE)
    itself = Candidate(architecture=study.space.sample(Pick(last), input_channels=1))
    assert teacher_candidate(study) == baseline_candidate(study) == itself
    assert baseline_words(study) == GIVEN
    assert set(quantized_baseline(study).plan.formats.values()) == {"int8"}


@pytest.mark.parametrize("scope", ["local", "global"])
def test_channels_that_go_together_are_cut_in_steps_of_the_layer_s(scope: str) -> None:
    """Four of the layer's are one of the group's: a step of eight channels is two of its four."""
    draft = Draft()
    x = draft.unit("grouped", draft.unit("begin", INPUT, 16), 16, split=4)
    study = study_about(
        draft.done(draft.unit("end", x, 8)),
        space={"base": "known.networks:network", "input_size": 8, "width_grid": 8},
        compression={"pruning_ratio": 0.5, "pruning_scope": scope, "stage_widths": True},
    )
    drawn = sample_of(Pick(first), study)
    (group,) = (group for group in drawn.architecture.all_groups() if group.unit > 1)
    least = drawn.least(10) if scope == "global" else drawn
    assert (group.width, group.unit, least.plan.kept[group.name]) == (4, 4, 2)


def test_a_layer_that_runs_twice_stays_a_float() -> None:
    study = study_about(twice(), compression={"weight_format": "int8"})
    drawn = sample_of(Pick(first), study)
    names = {layer.name for layer in drawn.layers(10)}
    assert "body" in names
    assert set(drawn.plan.formats) == names - {"body"} == set(quantized_baseline(study).plan.formats)
    plan = CompressionPlan(formats={"body": "int8"})
    with pytest.raises(ValueError, match="plan stores body in int8, expected fp32: it is run more than once"):
        Candidate(architecture=drawn.architecture, plan=plan).to_json()


@pytest.mark.parametrize(
    ("fields", "why"),
    [({"split": 2}, "one in 2 groups"), ({"split": 4}, "a depthwise one")],
)
def test_what_cannot_be_factored_is_not_drawn_and_refused(fields: dict[str, Any], why: str) -> None:
    draft = Draft()
    x = draft.unit("body", draft.unit("begin", INPUT, 4), 4, **fields)
    blueprint = draft.done(draft.unit("end", x, 8))
    study = study_about(blueprint, compression={"low_rank": {"method": "svd", "ratio": 0.5}})
    asked = sample_of(Pick(first), study).plan.steps["low_rank"]
    assert "body.0" not in asked
    assert "end.0" in asked
    plan = CompressionPlan(steps={"low_rank": {"body.0": asked["end.0"]}})
    with pytest.raises(ValueError, match=f"low_rank of body.0: .*got {why}"):
        Candidate(architecture=architecture_of(blueprint), plan=plan).to_json()


def test_a_layer_that_pads_beside_a_single_pixel_is_left_whole() -> None:
    """Its factors could not pad as it does: what is padded would get the first one's bias."""
    draft = Draft()
    x = draft.add(
        "conv", draft.unit("begin", INPUT, 8), name="body", shape=(8, 10), in_channels=8, out_channels=8,
        kernel_size=[1, 1], stride=[1, 1], padding=[1, 1], dilation=[1, 1], groups=1, bias=True,
    )  # fmt: skip
    blueprint = draft.done(draft.unit("end", x, 8))
    study = study_about(blueprint, compression={"low_rank": {"method": "svd", "ratio": 0.5}})
    assert set(sample_of(Pick(first), study).plan.steps["low_rank"]) == {"end.0"}


def test_factors_of_an_even_kernel_give_the_maps_that_it_gives() -> None:
    """Of 8 pixels 9: it pads one on either side."""
    draft = Draft()
    x = draft.add(
        "conv", draft.unit("begin", INPUT, 8), name="body", shape=(16, 9), in_channels=8, out_channels=16,
        kernel_size=[2, 2], stride=[1, 1], padding=[1, 1], dilation=[1, 1], groups=1, bias=True,
    )  # fmt: skip
    plan = CompressionPlan(steps={"low_rank": {"body": {"method": "spatial_svd", "rank": 2}}})
    candidate = Candidate(architecture=architecture_of(draft.done(draft.add("relu", x))), plan=plan)
    assert [layer.output_map for layer in candidate.layers(10)[1:3]] == [(9, 8), (9, 9)]


def test_factors_pad_as_their_layer_does() -> None:
    draft = Draft(size=9)
    x = draft.unit("begin", INPUT, 8)
    x = draft.add(
        "conv", x, name="body", shape=(16, 4), in_channels=8, out_channels=16, kernel_size=[3, 3], stride=[2, 2],
        padding=[0, 0], dilation=[1, 1], groups=1, bias=True,
    )  # fmt: skip
    architecture = architecture_of(draft.done(draft.add("relu", x)), input_size=9)
    plan = CompressionPlan(steps={"low_rank": {"body": {"method": "spatial_svd", "rank": 2}}})
    column, row = Candidate(architecture=architecture, plan=plan).layers(10)[1:3]
    assert (column.name, column.whole, row.whole) == ("body.0", "body", "body")
    assert (column.input_map, column.output_map, row.output_map) == ((9, 9), (4, 9), (4, 4))
    assert (column.paddings, row.paddings) == ((0, 0), (0, 0))


def test_a_module_path_that_ends_with_a_number_is_no_factor() -> None:
    layers = architecture_of(shuffled()).layers(10)
    assert [layer.whole for layer in layers] == [layer.name for layer in layers]


def test_features_of_sections_say_what_became_of_them() -> None:
    study = study_about(residual(), compression=FREE)
    features = Features.of(study.space)
    whole = Candidate(architecture=study.space.sample(Pick(last), input_channels=1))
    group = next(group for group in whole.architecture.groups() if group.name.startswith("layer1.0"))
    cut = whole.model_copy(update={"plan": CompressionPlan(kept={group.name: group.width // 2})})
    told, plain = (dict(zip(features.names, features(one, 10), strict=True)) for one in (cut, whole))
    changed = {name for name in features.names if told[name] != plain[name]}
    # one of the three blocks, which are a section each, has lost half of the channels of one of its two layers
    assert told["stage1.pruned"] == pytest.approx(0.5**2 / 2)
    assert {name for name in changed if name.startswith("stage")} == {
        "stage1.pruned", "stage1.log_parameters", "stage1.log_macs",
    }  # fmt: skip
    assert plain["depth"] == 3
    assert len(features.names) == len(features(whole, 10))
    assert sum(name.startswith("stage") and "_step" not in name for name in features.names) == 8 * len(PER_STAGE)


def test_features_are_finite_for_a_perceptron() -> None:
    draft = Draft(channels=3)
    blueprint = draft.done(draft.add("relu", draft.linear("hidden", draft.flatten(INPUT), 12)), head="out")
    study = study_about(blueprint)
    candidate = Candidate(architecture=architecture_of(blueprint))
    assert np.isfinite(Features.of(study.space)(candidate, 10)).all()


@pytest.mark.parametrize("order", [1, -1])
def test_anchors_are_midway_the_network_and_its_strongest_compression(order: int) -> None:
    """In whatever order a study lists its choices."""
    free = {key: choices[::order] if isinstance(choices, list) else choices for key, choices in FREE.items()}
    study = study_about(residual(), compression=free)
    found = [sample_of(Answering(answer), study) for answer in anchors(study)]
    corners = extreme_candidates(study)
    assert found[1] == corners["largest"]
    assert found[2] == corners["smallest"]
    assert set(found[0].plan.formats.values()) == {"int8"}
    assert found[0] == sample_of(Answering(midway(study)[0]), study)


class Answering:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._answer(name, choices)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self._answer(name, range(low, high + 1)))


def test_runs_hold_every_layer_once_and_equal_ones_are_one_object() -> None:
    candidate = Candidate(architecture=architecture_of(dense()))
    runs, again = runs_of(candidate, 10), runs_of(candidate.model_copy(), 10)
    assert runs is not None
    assert again is not None
    assert [layer for run in runs for layer in run.layers] == list(candidate.layers(10))
    assert all(one is other for one, other in zip(runs, again, strict=True))
    assert runs_of(Candidate(architecture=architecture_of(twice())), 10) is None


def test_a_finished_network_of_another_run_can_teach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record only names the network, which is read from the folder of its own run."""
    study = study_about(residual())
    own = baseline_candidate(study)
    keep_network(study, RunFolder(tmp_path))
    artifact = tmp_path / "artifacts" / own.id / "final-1"
    artifact.mkdir(parents=True)
    file = artifact / "candidate.json"
    file.write_text(json.dumps(own.to_json()))
    taught = study_about(dense())
    monkeypatch.setattr(known, "_blueprints", {})
    assert float_candidate(artifact, key="k") == own
    monkeypatch.setattr(known, "_blueprints", {})
    assert teacher_candidate(taught, Distillation(teacher="reference", architecture=str(file))) == own


def test_parts_that_are_called_as_ours_are_not_taken_for_them() -> None:
    """A layer that is run twice leaves no stretches, and a part may have any name."""
    draft = Draft()
    x = draft.add("relu", draft.conv("stem", INPUT, 4, bias=True))
    for name in ("head", "head_again"):
        x = draft.add("relu", draft.conv(name, x, 4, bias=True, module="head"))
    blueprint = draft.done(x, head="classifier")
    assert [part.name for part in architecture_of(blueprint).parts(3)] == ["stem", "head", "classifier"]
    assert runs_of(Candidate(architecture=architecture_of(blueprint)), 3) is None
