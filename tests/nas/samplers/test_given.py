"""Given choices are taken, and beside them the sampler does what it does otherwise."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from conditional_genes import CHOICES, draw, values

from nas.samplers import Anchored, Replayed, make_sampler


def ask(sampler: optuna.samplers.BaseSampler) -> optuna.Trial:
    return optuna.create_study(directions=["maximize", "minimize"], sampler=sampler).ask()


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "nsga3"])
def test_choices_are_answered_by_name(sampler: str) -> None:
    asked: list[str] = []

    def last(gene: str, choices: Any) -> Any:
        asked.append(gene)
        return choices[-1]

    trial = ask(Anchored(make_sampler(sampler, seed=0), last))
    assert draw(trial) == {name: choices[-1] for name, choices in CHOICES.items()}
    assert set(asked) == set(CHOICES)


def test_of_a_range_the_middle_is_taken() -> None:
    trial = ask(Anchored(make_sampler("random", seed=0), lambda _, choices: choices[0]))
    assert trial.suggest_float("linear", 1.0, 3.0) == pytest.approx(2.0)
    assert trial.suggest_float("log", 0.01, 1.0, log=True) == pytest.approx(0.1)
    assert trial.suggest_float("stepped", 0.0, 0.75, step=0.25) == 0.5  # 0.375 is none of its values
    with pytest.raises(TypeError, match="gene whole: expected choices or a range of floats, got IntDistribution"):
        trial.suggest_int("whole", 1, 5)


def test_values_are_replayed_as_they_are() -> None:
    given = {"depth": 1, "width": 16, "block1.kernel": 5, "block1.expansion": 4}
    assert draw(ask(Replayed(make_sampler("nsga2", seed=0), given))) == given


def test_nsga_counts_given_trials_to_its_generation() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    for number in range(6):
        made = make_sampler("nsga2", seed=number, population=3)
        study.sampler = Anchored(made, lambda _, choices: choices[0]) if number < 3 else made
        trial = study.ask()
        study.tell(trial, values(draw(trial)))
    generations = [trial.system_attrs["ConditionalNSGAII:generation"] for trial in study.trials]
    assert generations == [0, 0, 0, 1, 1, 1]
