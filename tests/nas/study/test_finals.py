"""The section `finals`: what differs for finalists, and what is as `training` and `data` say."""

from __future__ import annotations

from typing import Any

import pytest
from by_hand import make_study

from nas.study import Distillation, Finals, Study, Training
from nas.study.finals import OF_DATA, TEACHING, image_limit
from nas.study.training import OF_CANDIDATE

OF_THE_MACHINE = {"precision", "device"}


def study_of(**sections: Any) -> Study:
    base = make_study().model_dump()
    merged = {name: {**base.get(name, {}), **values} for name, values in sections.items()}
    return Study.model_validate({**base, **merged})


def test_whatever_training_has_may_differ() -> None:
    """Except what names the machine; a new key of `training` has to be put here too."""
    own = set(Finals.model_fields) - {*TEACHING, *OF_DATA}
    assert own == set(Training.model_fields) - {"distillation", *OF_CANDIDATE} - OF_THE_MACHINE


def test_without_finals_nothing_differs() -> None:
    study = make_study(training={"distillation": {"teacher": "self"}, "dropout": {"low": 0.1, "high": 0.2}})
    assert study.finals.changes() == {}
    assert study.final_recipe == study.training
    assert (study.final_epochs, study.final_images) == (8, None)


def test_what_is_given_replaces_what_training_says() -> None:
    given = {"epochs": 9, "batch_size": 7, "dropout": 0.0, "patience": 3, "shares": {"dense": 0.9, "quantized": 0.1}}
    study = study_of(training={"dropout": {"low": 0.1, "high": 0.2}, "momentum": 0.5}, finals=given)
    recipe = study.final_recipe
    assert {name: getattr(recipe, name) for name in given} == given
    assert recipe.searched == {}
    assert recipe.momentum == 0.5
    assert study.final_epochs == 9
    assert study.search_epochs == study.training.epochs == 8


def test_changes_survive_a_way_through_json() -> None:
    finals = Finals.model_validate(
        {"epochs": 9, "train_images": "all", "teacher": 4, "milestones": (0.1, 0.2), "randaugment": {"magnitude": 3}}
    )
    changes = finals.changes()
    assert changes == {
        "epochs": 9, "train_images": "all", "teacher": 4, "milestones": [0.1, 0.2],
        "randaugment": {"operations": 2, "magnitude": 3.0},
    }  # fmt: skip
    assert Finals.of(changes) == finals


@pytest.mark.parametrize(
    ("own", "common", "expected"), [(None, None, None), (None, 5, 5), (3, 5, 3), ("all", 5, None), (3, None, 3)]
)
def test_numbers_of_images(own: Any, common: int | None, expected: int | None) -> None:
    assert image_limit(own, common) == expected
    study = study_of(data={"train_images": common}, search={"train_images": own}, finals={"train_images": own})
    assert (study.search_images, study.final_images) == (expected, expected)
    assert study.images_by(study.search_changes) == expected
    assert study.data_of(7).train_images == 7


COMMON = Distillation(teacher="reference", weight=0.3, temperature=2.0, architecture="a.json")


@pytest.mark.parametrize(
    ("common", "finals", "expected"),
    [
        (None, {}, None),
        (COMMON, {}, COMMON),
        (COMMON, {"teacher_weight": 0.9}, COMMON.model_copy(update={"weight": 0.9})),
        (COMMON, {"teacher": "none"}, None),
        (COMMON, {"teacher": "self"}, COMMON.model_copy(update={"teacher": "self", "architecture": None})),
        (COMMON, {"teacher": "reference"}, COMMON),
        (None, {"teacher": "reference", "teacher_temperature": 1.0}, Distillation(teacher="reference", temperature=1)),
        (None, {"teacher": "b.json"}, Distillation(teacher="reference", architecture="b.json")),
        (COMMON, {"teacher": 17}, COMMON.model_copy(update={"architecture": "17"})),
    ],
)
def test_teachers(common: Distillation | None, finals: dict[str, Any], expected: Distillation | None) -> None:
    recipe = Finals.model_validate(finals).over(Training(distillation=common))
    assert recipe.distillation == expected
    assert recipe.needs_reference == (expected is not None and expected.teacher == "reference")


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"finals": {"epochs": 7}}, "finals.epochs: expected at least the 8 epochs of a search trial, got 7"),
        ({"finals": {"milestones": (0.5, 0.1)}}, r"finals.milestones: expected shares in ascending order, got"),
        ({"finals": {"shares": {"dense": 0.5}}}, "finals.shares: expected shares that sum to 1"),
        (
            {"finals": {"optimizer": "adam"}, "training": {"epochs": 8, "momentum": {"low": 0.5, "high": 0.9}}},
            r"finals.momentum: searched only with optimizer sgd or rmsprop, got optimizer adam",
        ),
        ({"search": {"input_size": 9}}, "search.input_size: expected 1, .* to 8, its largest input_size, got 9"),
    ],
)
def test_what_does_not_fit_is_named(sections: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        study_of(**sections)


def test_finalists_may_train_as_long_as_trials() -> None:
    assert study_of(search={"epochs": 3}, finals={"epochs": 3}).final_epochs == 3
