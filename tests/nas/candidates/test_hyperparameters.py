"""Searched training numbers: which are asked for, how they are resolved and named."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.candidates.hyperparameters import ask_numbers, middle_numbers, number_genes, suffix_of
from nas.run_folder.paths import RunFolder
from nas.study import Training

SEARCHED: dict[str, Any] = {
    "mixup": {"choices": (0.0, 0.2, 0.4)},
    "learning_rate": {"low": 0.01, "high": 1.0, "log": True},
    "ema": {"choices": (0.9,)},
    "dropout": {"low": 0.0, "high": 0.5},
}


class Corner:
    """Answers with the upper end and remembers the questions."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.asked.append((name, *choices))
        return choices[-1]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.asked.append((name, low, high, log))
        return high


def test_questions_come_in_the_order_of_the_record() -> None:
    training, trial = Training.model_validate(SEARCHED), Corner()
    numbers = ask_numbers(trial, training)
    assert numbers == {"learning_rate": 1.0, "dropout": 0.5, "ema": 0.9, "mixup": 0.4}
    assert trial.asked == [
        ("training.learning_rate", 0.01, 1.0, True),
        ("training.dropout", 0.0, 0.5, False),
        ("training.mixup", 0.0, 0.2, 0.4),  # a single choice is no question
    ]
    assert number_genes(training) == [name for name, *_ in trial.asked]


def test_plain_numbers_are_not_asked_for() -> None:
    trial = Corner()
    assert ask_numbers(trial, Training()) == {}
    assert trial.asked == []


def test_middles() -> None:
    middle = middle_numbers(Training.model_validate(SEARCHED))
    assert middle == {"learning_rate": pytest.approx(0.1), "dropout": 0.25, "ema": 0.9, "mixup": 0.2}


@given(st.integers(0, 2**32 - 1))
def test_an_optuna_trial_answers_within_the_bounds(seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    numbers = ask_numbers(study.ask(), Training.model_validate(SEARCHED))
    assert 0.01 <= numbers["learning_rate"] <= 1.0
    assert 0.0 <= numbers["dropout"] <= 0.5
    assert numbers["mixup"] in (0.0, 0.2, 0.4)


def test_artifacts_of_other_numbers_lie_elsewhere(tmp_path: Any) -> None:
    folder = RunFolder(tmp_path)
    assert suffix_of({}) == ""
    assert folder.artifact("abc", "search", 3).name == "search-3"
    one, same = {"ema": 0.5, "l1": 0.0}, {"l1": 0.0, "ema": 0.5}
    assert suffix_of(one) == suffix_of(same) == "-tc57b40"
    assert folder.artifact("abc", "search", 3, one).name == "search-3-tc57b40"
    assert suffix_of({**one, "ema": 0.500001}) != suffix_of(one)


def test_words_and_whole_numbers_keep_their_types() -> None:
    training = Training.model_validate(
        {"optimizer": {"choices": ("sgd", "adamw")}, "batch_size": {"choices": (32, 64)}, "distillation": TEACHER}
    )
    numbers = ask_numbers(Corner(), training)
    assert numbers == {"batch_size": 64, "optimizer": "adamw", "distillation.weight": 0.9}
    assert [type(number) for number in numbers.values()] == [int, str, float]
    assert number_genes(training) == ["training.batch_size", "training.optimizer", "training.distillation.weight"]
    assert middle_numbers(training) == {"batch_size": 32, "optimizer": "sgd", "distillation.weight": 0.5}
    assert suffix_of(numbers) != suffix_of({**numbers, "optimizer": "sgd"})


TEACHER = {"weight": {"low": 0.1, "high": 0.9}}
