"""How much training a trial has, and when that is too little."""

from __future__ import annotations

from typing import Any

import pytest

from nas.commands.steps import FEWEST_STEPS, few_steps, steps_of, steps_words
from nas.data.describe import DataSummary
from nas.study import Study


def make_study(**fields: Any) -> Study:
    given = {"name": "t", "data": {"source": "digits"}, "space": {"preset": "8px"}}
    return Study.model_validate(given | fields)


def summary(images: int, trial_images: int | None = None) -> DataSummary:
    counts = dict.fromkeys(("train", "validation", "test"), (images, 0))
    return DataSummary("x", ("a", "b"), counts, {}, trial_images=trial_images or images)


@pytest.mark.parametrize(
    ("images", "epochs", "batch_size", "expected"),
    [(8000, 3, 128, 189), (256, 2, 128, 4), (257, 2, 128, 4), (258, 2, 128, 6), (50, 7, 128, 7)],
)
def test_steps(images: int, epochs: int, batch_size: int, expected: int) -> None:
    assert steps_of(images, epochs=epochs, batch_size=batch_size) == expected


def test_trials_and_finalists_are_told_apart() -> None:
    study = make_study(
        training={"epochs": 10, "batch_size": 64}, search={"epochs": 1}, finals={"epochs": 30, "batch_size": 32}
    )
    assert list(steps_words(study, summary(12800, 6400))) == [
        "a trial: 1 epoch of 6,400 images, 100 batches of 64: 100 steps",
        "a finalist: 30 epochs of 12,800 images, 400 batches of 32: 12,000 steps",
    ]
    assert len(list(steps_words(make_study(search={"finalists": 0}), summary(100)))) == 1


def test_short_trials_are_warned_of() -> None:
    study = make_study(training={"epochs": 3}, search={})
    (warning,) = few_steps(study, summary(8000))
    assert warning.startswith("training.epochs: a trial has 189 steps of training, ")
    (warning,) = few_steps(make_study(search={"epochs": 2}), summary(8000))
    assert warning.startswith("search.epochs: a trial has 126 steps")
    assert not list(few_steps(make_study(training={"epochs": 1}), summary(128 * FEWEST_STEPS)))
