"""The section `training.distillation`: which teachers there are, and what goes with which."""

from __future__ import annotations

from typing import Any

import pytest

from nas.study import Distillation, Finals, Training


def test_a_path_is_one_reference() -> None:
    given = Distillation(teacher="runs/x/artifacts/y", weight=0.2)
    assert given == Distillation(teacher="reference", architecture="runs/x/artifacts/y", weight=0.2)
    assert Distillation.model_validate(given.model_dump()) == given


@pytest.mark.parametrize(
    ("keys", "needs_reference", "needs_guide"),
    [
        ({}, False, False),
        ({"features_weight": 1.0}, False, False),
        ({"teacher": "reference"}, True, False),
        ({"teacher": "reference", "attention_weight": 1.0}, True, True),
        ({"teacher": "torchvision.resnet18", "weights": "none", "features_weight": 1.0}, True, True),
        ({"teacher": "torchvision.resnet18"}, True, False),
    ],
)
def test_what_has_to_be_there(keys: dict[str, Any], needs_reference: bool, needs_guide: bool) -> None:
    training = Training.model_validate({"distillation": keys})
    recipe = training.resolved({})
    assert (training.needs_reference, recipe.needs_reference) == (needs_reference, needs_reference)
    assert recipe.needs_guide == needs_guide


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"teacher": "a.json", "architecture": "b.json"}, "architecture: expected null with the path a.json as"),
        ({"weights": "none"}, "weights: expected null with teacher self, got 'none'"),
        ({"teacher": "reference", "size": 64}, "size: expected null with teacher reference, got 64"),
        ({"at": ("stage1",)}, "at: expected features_weight or attention_weight above 0"),
        ({"at": ("head",), "features_weight": 1.0}, "should match pattern"),
        ({"features_weight": -1.0}, "greater than or equal to 0"),
        ({"teacher": "torchvision.resnet18", "architecture": "a.json"}, "architecture: expected null with teacher tor"),
    ],
)
def test_what_does_not_go_together(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Distillation.model_validate(keys)


def test_finalists_may_have_a_builder_s_teacher() -> None:
    common = Distillation(teacher="reference", architecture="a.json", attention_weight=3.0)
    recipe = Finals(teacher="torchvision.resnet18").over(Training(distillation=common))
    assert recipe.distillation == Distillation(teacher="torchvision.resnet18", attention_weight=3.0)
    own = Finals(teacher="self").over(Training(distillation=Distillation(teacher="torchvision.resnet18", size=40)))
    assert own.distillation == Distillation(teacher="self")


def test_the_weights_of_what_is_inside_may_be_searched() -> None:
    keys = {"teacher": "reference", "attention_weight": {"choices": (0.0, 2.0)}, "at": ("stage1",)}
    training = Training.model_validate({"distillation": keys})
    assert list(training.searched) == ["distillation.attention_weight"]
    guided, plain = (training.resolved({"distillation.attention_weight": weight}) for weight in (2.0, 0.0))
    assert (guided.needs_guide, plain.needs_guide) == (True, False)
    assert guided.distillation is not None
    assert guided.distillation.attention_weight == 2.0
    ranged = Distillation.model_validate({"features_weight": {"low": 0.1, "high": 1.0}})
    assert ranged.looks_inside
