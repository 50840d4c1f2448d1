"""The section `training`: searched numbers resolve into a recipe; shares by stage; spellings of older studies."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from compressors.steps import STEPS, Retraining, Step, stage_names
from nas.study import Distillation, Range, Recipe, Study, Training
from nas.study.file import dump_study, frozen_difference, load_recorded, load_study, parse_study
from nas.study.training import OF_CANDIDATE

SEARCHED: dict[str, Any] = {
    "mixup": {"choices": (0.0, 0.2, 0.4)},
    "learning_rate": {"low": 0.01, "high": 1.0, "log": True},
    "ema": {"choices": (0.9,)},
}
NUMBERS = {"learning_rate": 0.5, "ema": 0.9, "mixup": 0.2}


def test_a_recipe_has_every_key_in_the_order_of_the_section() -> None:
    assert [field.name for field in fields(Recipe)] == [k for k in Training.model_fields if k not in OF_CANDIDATE]


def test_a_recipe_is_the_section_with_numbers_put_in() -> None:
    training = Training.model_validate({**SEARCHED, "epochs": 3, "distillation": {}, "shares": (0.5, 0.25, 0.25)})
    recipe = training.resolved(NUMBERS)
    own = {key: value for key, value in dict(training).items() if key not in OF_CANDIDATE}
    assert asdict(recipe) | {"distillation": None} == {**own, **NUMBERS, "distillation": None}
    assert recipe.distillation is training.distillation
    assert recipe == Training.model_validate({**training.model_dump(), **NUMBERS}).resolved({})
    assert not isinstance(recipe, Training)


@pytest.mark.parametrize("numbers", [{}, {"learning_rate": 0.1}, {**NUMBERS, "momentum": 0.1}])
def test_missing_and_unknown_numbers_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"expected .'ema', 'learning_rate', 'mixup'., got"):
        Training.model_validate(SEARCHED).resolved(numbers)


def test_numbers_are_searched_in_the_order_of_the_section() -> None:
    """It is the order in which they are asked for, on which every later draw depends."""
    names = ("learning_rate", "momentum", "weight_decay", "l1", "bn_sparsity", "rate_weight", "gamma",
             "label_smoothing", "dropout", "ema", "mixup", "cutout")  # fmt: skip
    training = Training.model_validate(
        {**{name: {"low": 0.1, "high": 0.5} for name in reversed(names)}, "schedule": "step"}
    )
    assert tuple(training.searched) == names


@pytest.mark.parametrize(
    ("keys", "peak", "warm_up"),
    [
        ({}, 0.1, 0.25),
        ({"optimizer": "adam", "schedule": "cosine"}, 3e-3, 0.0),
        ({"optimizer": "rmsprop", "warm_up": 0.0}, 1e-3, 0.0),
        ({"learning_rate": 0.3, "schedule": "step", "warm_up": 0.5}, 0.3, 0.5),
    ],
)
def test_defaults_that_depend_on_other_keys(keys: dict[str, Any], peak: float, warm_up: float) -> None:
    recipe = Training.model_validate(keys).resolved({})
    assert (recipe.peak_learning_rate, recipe.warm_up_share) == (peak, warm_up)


def test_default_shares_are_those_of_the_table() -> None:
    assert Training().shares == {"dense": 0.5, "pruned": 0.2, "quantized": 0.3}


def test_shares_are_kept_in_the_order_of_stages() -> None:
    shares = Training.model_validate({"shares": {"quantized": 0.3, "dense": 0.6, "pruned": 0.1}}).shares
    assert list(shares.items()) == [("dense", 0.6), ("pruned", 0.1), ("quantized", 0.3)]


def test_a_share_may_be_left_to_its_default() -> None:
    assert Training.model_validate({"shares": {"dense": 0.6, "quantized": 0.4}}).shares == {
        "dense": 0.6,
        "quantized": 0.4,
    }


def test_a_further_compression_step_has_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step("toy", asked=lambda _: None, method=None, training=Retraining(number=9, share=0.1))
    shares = {"dense": 0.6, "toy": 0.4}
    with pytest.raises(ValidationError, match=f"expected one of {', '.join(stage_names())}, got 'toy'"):
        Training.model_validate({"shares": shares})
    monkeypatch.setitem(STEPS, "toy", step)
    assert Training.model_validate({"shares": shares}).resolved({}).shares == shares


@pytest.mark.parametrize(
    "shares", [{"dense": 0.5}, {"pruned": 0.5, "quantized": 0.5}, {"dense": 0.0, "pruned": 0.5, "quantized": 0.5}]
)
def test_shares_that_leave_no_training_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="expected shares that sum to 1, that of dense above 0"):
        Training.model_validate({"shares": shares})


def test_a_study_resolved_by_version_0_1_is_the_same_study(tmp_path: Any) -> None:
    """It lists shares without names, says phase for stage, and has no search.engine."""
    file = tmp_path / "study.yaml"
    shares = "shares: {dense: 0.3, pruned: 0.55, quantized: 0.15}"
    file.write_text(
        "name: x\ndata: {source: digits}\nspace: {family: mobile, preset: 8px}\n"
        f"training: {{cycle: stage, {shares}}}\n"
    )
    today = load_study(file)
    text = dump_study(today)
    named = "  shares:\n    dense: 0.3\n    pruned: 0.55\n    quantized: 0.15\n"
    assert all(part in text for part in (named, "cycle: stage\n", "  engine: local\n"))
    before = text.replace(named, "  shares: [0.3, 0.55, 0.15]\n").replace("cycle: stage", "cycle: phase")
    file.write_text(before.replace("  engine: local\n", ""))
    recorded = load_study(file)
    assert recorded == today
    assert frozen_difference(recorded, today) == []
    assert frozen_difference(recorded, load_study(file, ["training.cycle=whole"])) == ["training.cycle: stage -> whole"]


def test_a_run_recorded_before_a_key_existed_means_what_was_done_then(tmp_path: Any) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("name: x\ndata: {source: digits}\nspace: {family: mobile, preset: 8px}\n")
    live = load_study(file, ["training.batch_norm=live"])
    text = dump_study(live)
    assert "  batch_norm: live\n" in text
    file.write_text(text)
    assert load_recorded(file) == live
    file.write_text(text.replace("  batch_norm: live\n", ""))
    recorded = load_recorded(file)
    assert recorded.training.batch_norm == "folded"
    assert frozen_difference(recorded, live) == ["training.batch_norm: folded -> live"]
    assert load_recorded(file, ["training.batch_norm=live"]) == live


WORDS = {
    "optimizer": {"choices": ("sgd", "adamw")},
    "batch_size": {"choices": (32, 64)},
    "distillation": {"weight": {"low": 0.1, "high": 0.9}, "temperature": {"choices": (1.0, 4.0)}},
}
DECIDED = {"optimizer": "adamw", "batch_size": 64, "distillation.weight": 0.3, "distillation.temperature": 4.0}


def test_words_and_the_numbers_of_a_teacher_are_searched() -> None:
    training = Training.model_validate(WORDS)
    assert list(training.searched) == ["batch_size", "optimizer", "distillation.weight", "distillation.temperature"]
    recipe = training.resolved(DECIDED)
    assert (recipe.optimizer, recipe.batch_size, recipe.peak_learning_rate) == ("adamw", 64, 3e-3)
    assert recipe.distillation == Distillation(weight=0.3, temperature=4.0)
    assert isinstance(training.distillation and training.distillation.weight, Range)


def test_momentum_is_searched_where_any_optimizer_has_it() -> None:
    momentum = {"momentum": {"choices": (0.5, 0.9)}}
    assert "momentum" in Training.model_validate({**momentum, "optimizer": {"choices": ("adamw", "sgd")}}).searched
    with pytest.raises(ValidationError, match="only with optimizer sgd or rmsprop, got optimizer adamw or adam"):
        Training.model_validate({**momentum, "optimizer": {"choices": ("adamw", "adam")}})


def test_how_formats_are_brought_about_is_no_number_of_a_training() -> None:
    training = Training.model_validate({"quantization": {"choices": ("static", "aware")}, "calibration": "mse"})
    assert (training.quantizations, training.searched) == (("static", "aware"), {})
    assert (training.resolved({}).calibration, Training().quantizations) == ("mse", ("aware",))


@pytest.mark.parametrize("key", ["optimizer", "quantization", "batch_size"])
def test_what_is_chosen_is_one_of_what_may_be_given(key: str) -> None:
    with pytest.raises(ValidationError):
        Training.model_validate({key: {"choices": ("never",)}})
    with pytest.raises(ValidationError):
        Training.model_validate({key: {"low": 1, "high": 2}})


def test_a_network_that_begins_with_weights_is_trained_less_dense() -> None:
    study = {"name": "t", "data": {"source": "digits"}}
    space = {"base": "torchvision.resnet18", "input_size": 32}
    given = {"dense": 0.6, "quantized": 0.4}
    default, own = Study.model_validate({**study, "space": space}), {"dense": 0.3, "pruned": 0.3, "quantized": 0.4}
    begun = Study.model_validate({**study, "space": {**space, "weights": "DEFAULT"}})
    told = Study.model_validate({**study, "space": {**space, "weights": "w.pt"}, "training": {"shares": given}})
    assert (default.training, begun.training.shares, told.training.shares) == (Training(), own, given)
    assert parse_study(dump_study(begun), Path("study.yaml")) == begun
