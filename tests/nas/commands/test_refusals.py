"""What check, probe and run refuse alike, before any work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from drafts import Draft, residual
from known_networks import BASE, study_about

import nas.commands.refusals
from nas.commands.refusals import refusals, refuse, refuse_teachers
from nas.errors import InputError
from nas.registry import TRACKERS
from nas.run_folder.paths import RunFolder
from nas.study import Study
from search_spaces.existing.blueprint import INPUT


def make_study(**fields: Any) -> Study:
    given = {
        "name": "t",
        "data": {"source": "digits"},
        "space": {"preset": "8px"},
        "compression": {"pruning_ratio": (0.0, 0.5), "weight_format": ("int8", "int4")},
    }
    return Study.model_validate(given | fields)


def test_a_study_that_runs_here() -> None:
    refuse(make_study())


def test_a_space_that_is_too_large_for_a_grid() -> None:
    (problem,) = refusals(make_study(space={"family": "mobile", "preset": "8px"}, search={"sampler": "grid"}))
    assert problem.startswith("search.sampler: grid: expected a space of at most 100,000 candidates, got one of ")


def test_a_folder_that_is_no_earlier_run(tmp_path: Path) -> None:
    (problem,) = refusals(make_study(search={"sampler": "pareto", "warm_start": (str(tmp_path),)}))
    assert problem.startswith("search.warm_start[0]: expected a run folder, with study.yaml and trials.csv in it, got ")


def test_a_target_that_is_not_here() -> None:
    (problem,) = refusals(make_study(targets=({"name": "x", "provider": "NowhereExecutionProvider"},)))
    assert problem.startswith("targets[0].provider: ")


def test_a_tracker_whose_library_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRACKERS, "mlflow", "no_such_library:open")
    (problem,) = refusals(make_study(tracking=("mlflow",)))
    assert problem == (
        "tracking: mlflow is not installed (pip install 'compact-nas[mlflow]'): No module named 'no_such_library'"
    )


def test_a_format_that_a_target_does_not_take() -> None:
    study = make_study(
        compression={"weight_format": ("int8", "int8_asymmetric")},
        targets=({"name": "cpu"}, {"name": "other", "runtime": "openvino"}),
    )
    (problem,) = refusals(study)
    assert problem.startswith(
        "compression.weight_format: target 'other' (openvino) does not take int8_asymmetric: it computes convolutions "
    )


def test_a_teacher_that_is_no_candidate(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    distillation = {"teacher": "reference", "architecture": str(tmp_path / "x.json")}
    (problem,) = refusals(make_study(training={"distillation": distillation}))
    assert problem.startswith("training.distillation.architecture: expected a candidate.json, got ")


def test_a_teacher_of_finalists_is_a_candidate_or_the_folder_of_a_network(tmp_path: Path) -> None:
    (problem,) = refusals(make_study(finals={"teacher": str(tmp_path / "none.json")}))
    assert problem.startswith("finals.teacher: expected a candidate.json, got ")
    folder = make_study(finals={"teacher": str(tmp_path)})
    assert list(refusals(folder)) == [f"finals.teacher: expected a folder that holds model.onnx, got {tmp_path}"]
    (tmp_path / "model.onnx").touch()
    assert list(refusals(folder)) == []
    for teacher in (3, "self", "none", "reference"):  # a trial is known only in its run's folder
        assert list(refusals(make_study(finals={"teacher": teacher}))) == []
    inside = make_study(finals={"teacher": "artifacts/x"})
    (tmp_path / "artifacts" / "x").mkdir(parents=True)
    (tmp_path / "artifacts" / "x" / "model.onnx").touch()
    refuse_teachers(inside, RunFolder(tmp_path))
    with pytest.raises(InputError, match=r"finals.teacher: expected a candidate.json"):
        refuse_teachers(inside, None)


def test_all_are_told_at_once(tmp_path: Path) -> None:
    study = make_study(
        search={"sampler": "pareto", "warm_start": (str(tmp_path),)},
        targets=({"name": "x", "provider": "NowhereExecutionProvider"},),
    )
    with pytest.raises(InputError) as caught:
        refuse(study)
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "targets[0].provider",
        "search.warm_start[0]",
    ]


def test_a_gpu_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(wanted: str) -> None:
        raise InputError(f"training.device: {wanted}: none")

    monkeypatch.setattr(nas.commands.refusals, "refuse_missing_device", none)
    assert list(refusals(make_study(training={"device": "cuda"}))) == ["training.device: cuda: none"]


def test_a_run_asks_for_more_than_a_glance_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And reads the folders of earlier runs itself: they may be gone once they are copied."""
    one = make_study(search={"sampler": "pareto", "warm_start": (str(tmp_path),)})
    glances: list[bool] = []

    def missing(_: object, *, at_a_glance: bool) -> list[str]:
        glances.append(at_a_glance)
        return []

    monkeypatch.setattr(nas.commands.refusals, "missing", missing)
    assert len(list(refusals(one))) == 1
    assert list(refusals(one, RunFolder(tmp_path))) == []
    assert glances == [True, False]


def test_a_run_without_a_scan_of_its_own_is_refused_before_any_work(tmp_path: Path) -> None:
    one = make_study(search={"warm_start": ("sensitivity",)})
    assert list(refusals(one)) == []  # a check knows no folder
    (problem,) = refusals(one, RunFolder(tmp_path))
    assert problem.startswith("search.warm_start[0]: expected a scan, written by `nas sensitivity`, got none in ")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"teacher": "self", "features_weight": 1.0, "at": ("stage1", "stage9.block1")}, r"at: expected stages up to "),
        ({"teacher": "torchvision.resnet81"}, r"teacher: expected torchvision. and the name of a classifier, got"),
        ({"teacher": "torchvision.resnet18", "weights": "none.pth"}, r"weights: expected DEFAULT, none or a file of"),
        ({"teacher": "slef"}, r"architecture: expected a candidate.json, got"),
    ],
)
def test_what_cannot_teach_is_named(keys: dict[str, Any], said: str) -> None:
    (problem,) = refusals(make_study(training={"distillation": keys}))
    assert re.match(rf"training\.distillation\.{said}", problem)


def test_a_built_teacher_and_parts_that_there_are_pass() -> None:
    keys = {"teacher": "torchvision.resnet18", "weights": "none", "features_weight": 1.0, "at": ("stage1",)}
    assert list(refusals(make_study(training={"distillation": keys}))) == []


def test_channels_without_a_batch_norm_have_no_scales() -> None:
    squeezenet = {"base": "torchvision.squeezenet1_1", "input_size": 32}
    ranked = {"pruning_ratio": (0.5,), "importance": "bn_scale", "weight_format": ("int8",)}
    (problem,) = refusals(make_study(space=squeezenet, compression=ranked))
    assert problem.startswith("compression.importance: bn_scale ranks channels by a batch norm's scales, and features.")
    assert problem.endswith(" have none; take another one, such as l2")
    assert not list(refusals(make_study(space=squeezenet, compression=ranked | {"importance": "l2"})))
    assert not list(refusals(make_study(space=squeezenet, compression=ranked | {"pruning_ratio": (0.0,)})))
    refuse(make_study(compression=ranked | {"stage_widths": True}))
    refuse(make_study(space={"base": "torchvision.resnet18", "input_size": 32}, compression=ranked))


def test_maps_of_a_network_without_stages_cannot_be_compared() -> None:
    keys = {"teacher": "self", "features_weight": 1.0}
    (problem,) = refusals(study_about(residual(), training={"distillation": keys}))
    assert problem == (
        "training.distillation: expected features_weight and attention_weight 0 with the network "
        "known.networks:network, which has no stages at whose ends maps could be compared"
    )


@pytest.mark.parametrize("base", ["no.such.module:network", "torchvision.resnet19", "torchvision.vit_b_16"])
def test_a_network_that_cannot_be_read_is_one_problem(base: str) -> None:
    """Nothing else can be said of it, its sizes neither."""
    (problem,) = refusals(make_study(space={"base": base, "input_size": 32}))
    assert problem.startswith("space.base: ")


def test_sizes_that_an_existing_network_cannot_take_are_refused_by_their_key() -> None:
    draft = Draft(size=16)
    hidden = draft.add("relu", draft.linear("hidden", draft.flatten(draft.unit("begin", INPUT, 4)), 12))
    blueprint = draft.done(hidden, head="out")
    space = {"base": BASE, "input_size": [8, 16]}
    (problem,) = refusals(study_about(blueprint, space=space))
    assert problem.startswith(f"space.input_size: the network {BASE} cannot take images of 8 pixels a side: hidden ")
    space, search = {**space, "input_size": 16}, {"sampler": "nsga2", "trials": 4, "input_size": 8}
    (problem,) = refusals(study_about(blueprint, space=space, search=search))
    assert problem.startswith(f"search.input_size: the network {BASE} cannot take images of 8 pixels a side: hidden ")
