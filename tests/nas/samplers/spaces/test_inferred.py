"""The space of a history asks what its trials were asked."""

from __future__ import annotations

from typing import Any

import optuna
from conditional_genes import draw, values
from optuna.samplers import RandomSampler

from nas.samplers.spaces.inferred import Condition, infer_space
from nas.samplers.spaces.recording import Real, UnitTrial, Whole


def trials_of(objective: Any, count: int = 60) -> list[optuna.trial.FrozenTrial]:
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.optimize(objective, n_trials=count)
    return study.trials


def test_conditions_are_found() -> None:
    space = infer_space(trials_of(lambda trial: values(draw(trial))[0]))
    assert space is not None
    assert dict(space.conditions)["block2.kernel"] == Condition("depth", (2, 3)) or set(
        dict(space.conditions)["block2.kernel"].values
    ) == {2, 3}
    for salt in range(50):
        trial = UnitTrial({}, salt=salt / 50)
        space(trial)
        assert {name for name in trial.params if name.startswith("block")} == {
            f"block{i}.{part}" for i in range(1, trial.params["depth"] + 1) for part in ("kernel", "expansion")
        }


def test_nested_conditions_and_ranges() -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.suggest_categorical("outer", (True, False)) and trial.suggest_int("inner", 1, 3) > 1:
            return trial.suggest_float("rate", 0.1, 1.0, log=True)
        return 0.0

    space = infer_space(trials_of(objective))
    assert space is not None
    assert dict(space.questions)["rate"] == Real(0.1, 1.0, None, True)
    assert dict(space.questions)["inner"] == Whole(1, 3, 1, False)
    conditions = dict(space.conditions)
    assert conditions["inner"] == Condition("outer", (True,))
    assert conditions["rate"].parent == "inner"
    assert set(conditions["rate"].values) == {2, 3}


def test_what_nothing_explains_is_always_asked() -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.suggest_float("x", 0, 1) > 0.5:
            trial.suggest_int("n", 1, 3)
        return 0.0

    space = infer_space(trials_of(objective))
    assert space is not None
    assert space.conditions == ()


def test_without_genes_there_is_no_space() -> None:
    assert infer_space([]) is None
    assert infer_space(trials_of(lambda _: 0.0, 2)) is None


def test_equal_histories_are_equal_spaces() -> None:
    trials = trials_of(lambda trial: values(draw(trial))[0])
    assert infer_space(trials) == infer_space(trials[:-1])
