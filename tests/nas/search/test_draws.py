"""Draws: random ones are uniform and consistent, and what is left of a space is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest

import nas.candidates.sampling
import nas.search.draws
from nas.run_folder.rows import identity_of
from nas.samplers.given import Replayed
from nas.samplers.named import make_sampler
from nas.search.draws import Draws, RandomTrial
from nas.study import Study

SPACE = {
    "input_size": 8, "stem_widths": (8,), "head_widths": (8, 16), "kernels": (3,), "expansions": (1, 2),
    "squeeze_excite": (False,), "activations": ("relu",), "stages": ({"depths": (1, 2), "widths": (8, 16)},),
}  # fmt: skip


def make_study(**training: Any) -> Study:
    return Study.model_validate({"name": "t", "data": {"source": "digits"}, "space": SPACE, "training": training})


def identities(draws: Draws, count: int) -> set[Any]:
    random, found = np.random.default_rng(0), set()
    while len(found) < count:
        candidate, numbers = draws(RandomTrial(random))
        found.add(identity_of(candidate.id, numbers))
    return found


def test_a_gene_has_one_answer_and_each_is_as_likely() -> None:
    random, seen = np.random.default_rng(0), {name: list[Any]() for name in ("choice", "whole", "linear", "log")}
    for _ in range(4000):
        trial = RandomTrial(random)
        for _ in range(2):
            answers = {
                "choice": trial.suggest_categorical("choice", ("a", "b", "c", "d")),
                "whole": trial.suggest_int("whole", 3, 6),
                "linear": trial.suggest_float("linear", 2.0, 4.0),
                "log": trial.suggest_float("log", 0.01, 100.0, log=True),
            }
            assert answers == trial.values
        for name, answer in answers.items():
            seen[name].append(answer)
    for name in ("choice", "whole"):
        counts = np.unique(seen[name], return_counts=True)[1]
        assert counts == pytest.approx(np.full(4, 1000), abs=110)  # four standard deviations
    for values, ends in ((np.array(seen["linear"]), (2, 4)), (np.log10(seen["log"]), (-2, 2))):
        counts = np.histogram(values, 4, ends)[0]
        assert counts.sum() == 4000
        assert counts == pytest.approx(np.full(4, 1000), abs=110)


def test_ways_are_those_of_space_and_numbers() -> None:
    assert Draws(make_study()).ways == 24  # two heads, two widths, two expansions and of two blocks four
    assert Draws(make_study(mixup={"choices": (0.0, 0.1, 0.2)})).ways == 72
    assert Draws(make_study(mixup={"low": 0.0, "high": 0.2})).ways == np.inf


def test_the_last_one_left_is_found_and_drawn_as_it_was() -> None:
    study = make_study(mixup={"choices": (0.0, 0.1, 0.2)})
    draws = Draws(study)
    everything = identities(draws, 72)
    for number, left in enumerate(sorted(everything)):
        values = draws.unseen(everything - {left}, number)
        assert values is not None
        sampler = Replayed(make_sampler("nsga2", seed=0), values)
        candidate, numbers = draws(optuna.create_study(sampler=sampler).ask())
        assert identity_of(candidate.id, numbers) == left
    assert draws.unseen(everything, 0) is None


def test_numbers_between_bounds_are_drawn_as_they_were() -> None:
    draws = Draws(make_study(mixup={"low": 0.0, "high": 0.2}, learning_rate={"low": 0.001, "high": 0.1, "log": True}))
    values = draws.unseen(set(), 3)
    assert values is not None
    trial = optuna.create_study(sampler=Replayed(make_sampler("random", seed=0), values)).ask()
    assert draws(trial)[1] == {name: values[f"training.{name}"] for name in ("mixup", "learning_rate")}
    assert trial.params == values
    assert draws.unseen(set(), 3) == values != draws.unseen(set(), 4)


def test_attempts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Draws(make_study()).attempts == 20 * 24
    assert Draws(make_study(mixup={"low": 0.0, "high": 0.2})).attempts == nas.search.draws.MOST_DRAWS
    monkeypatch.setattr(nas.search.draws, "MOST_DRAWS", 7)
    draws, asked = Draws(make_study()), []
    everything = identities(draws, 24)
    monkeypatch.setattr(
        nas.search.draws, "sample_of", lambda *given, **more: asked.append(1) or sample_of(*given, **more)
    )
    sample_of = nas.candidates.sampling.sample_of
    assert draws.unseen(everything, 0) is None
    assert len(asked) == 7
