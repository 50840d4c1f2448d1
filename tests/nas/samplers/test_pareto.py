"""What ParetoSampler promises: any define-by-run study, the same asks after any restart, and better candidates."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from conditional_genes import CHOICES, Genes, draw, slacks, values
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from nas.pareto import hypervolume
from nas.samplers import ParetoSampler
from nas.samplers.pareto import gain_of
from nas.search.journal import Direction, Journal

DIRECTIONS: list[Direction] = ["maximize", "minimize"]
SMALL = 120  # candidates in a pool: enough to tell good from bad here


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def record(trial: Any) -> tuple[Any, ...]:
    return tuple(draw(trial).items())


def exact(params: Mapping[str, Any]) -> list[float | None]:
    return [None, values(dict(params))[1]]


def make(**changed: Any) -> ParetoSampler:
    options = {"seed": 0, "pool_size": SMALL, **changed}
    space, costs = options.pop("space", record), options.pop("costs", exact)
    return ParetoSampler(space, costs, options.pop("features", None), **options)


def front_volume(study: optuna.Study) -> float:
    points = np.array([[1 - t.values[0], np.log(t.values[1])] for t in study.trials])
    return hypervolume(points, [1.0, np.log(10_000)])


def test_it_finds_more_than_random_search() -> None:
    volumes = []
    for sampler in (make(scales=["linear", "log"]), RandomSampler(seed=0)):
        study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
        study.optimize(lambda trial: values(draw(trial)), n_trials=20)
        volumes.append(front_volume(study))
    assert volumes[0] > 1.03 * volumes[1]


def test_no_candidate_is_proposed_twice() -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make())
    study.optimize(lambda trial: values(draw(trial)), n_trials=20)
    assert len({str(sorted(trial.params.items())) for trial in study.trials}) == 20


def test_parameters_are_those_the_objective_asks_for() -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make())
    study.optimize(lambda trial: values(draw(trial)), n_trials=16)
    for trial in study.trials:
        assert all(value in CHOICES[name] for name, value in trial.params.items())
        assert sum(name.startswith("block") for name in trial.params) == 2 * trial.params["depth"]


def test_ranges_and_steps() -> None:
    def space(trial: Any) -> Any:
        x = trial.suggest_float("x", -2.0, 2.0)
        rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
        return x, rate, trial.suggest_float("step", 0.0, 1.0, step=0.25), trial.suggest_int("n", 1, 64, log=True)

    def loss(trial: Any) -> float:
        x, rate, step, n = space(trial)
        return float((x - 1) ** 2 + (np.log10(rate) + 2) ** 2 + (step - 0.5) ** 2 + np.log(n / 16) ** 2)

    study = optuna.create_study(sampler=ParetoSampler(space, seed=1, pool_size=300))
    study.optimize(loss, n_trials=40)
    assert study.best_value < 0.3


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_any_number_of_objectives(count: int) -> None:
    directions = ["minimize", "maximize", "minimize", "maximize"][:count]
    signs = [1.0, -1.0, 1.0, -1.0][:count]

    def all_values(genes: Genes) -> list[float]:
        score, cost = values(genes)
        return [
            sign * v for sign, v in zip(signs, [1 - score, cost, float(genes["width"]), genes["depth"]], strict=False)
        ]

    def known(params: Mapping[str, Any]) -> list[float | None]:
        return [None, *all_values(dict(params))[1:]]

    study = optuna.create_study(directions=directions, sampler=make(costs=known))
    study.optimize(lambda trial: all_values(draw(trial)), n_trials=14)
    gains = [gain_of(trial) for trial in study.trials]
    assert gains[:8] == [None] * 8
    assert all(gain is not None and 0 <= gain["gain"] <= 1 and 0 <= gain["hypervolume"] <= 1 for gain in gains[8:])


@pytest.mark.parametrize(
    "costs", [None, lambda params: [None, (values(dict(params))[1], 20.0)], lambda p: values(dict(p))]
)
def test_nothing_known_all_modelled_all_exact(costs: Any) -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make(costs=costs))
    study.optimize(lambda trial: values(draw(trial)), n_trials=14)
    assert gain_of(study.trials[-1]) is not None


def test_the_space_of_the_history() -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make(space=None, costs=None))
    study.optimize(lambda trial: values(draw(trial)), n_trials=30)
    assert gain_of(study.trials[-1]) is not None
    assert len({str(sorted(trial.params.items())) for trial in study.trials[4:]}) == 26


def test_constraints_that_are_computed_are_met() -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make(constraints=lambda params: slacks(dict(params))))
    study.optimize(lambda trial: values(draw(trial)), n_trials=25)
    assert all(slacks(trial.params)["cost"] <= 0 for trial in study.trials)


@pytest.mark.parametrize("constraints", [None, lambda params: {"cost": (slacks(dict(params))["cost"], 0.05)}])
def test_constraints_that_are_learned_or_modelled(constraints: Any) -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        genes = draw(trial)
        trial.set_constraint("cost", slacks(genes)["cost"])
        score, cost = values(genes)
        return (0.0 if slacks(genes)["cost"] > 0 else score), cost  # a placeholder that no model may see

    study = optuna.create_study(directions=DIRECTIONS, sampler=make(constraints=constraints))
    study.optimize(objective, n_trials=36)
    feasible = [slacks(trial.params)["cost"] <= 0 for trial in study.trials[16:]]
    assert np.mean(feasible) >= 0.6


def test_enqueued_and_failed_trials() -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make())
    given = {"depth": 1, "width": 8, "block1.kernel": 5, "block1.expansion": 2}
    study.enqueue_trial(given)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        genes = draw(trial)
        if trial.number % 5 == 3:
            raise ArithmeticError
        return values(genes)

    study.optimize(objective, n_trials=20, catch=(ArithmeticError,))
    assert study.trials[0].params == given
    assert len({str(sorted(trial.params.items())) for trial in study.trials}) == 20


def test_asks_before_anything_is_told_differ() -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make())
    trials = [study.ask() for _ in range(12)]
    assert len({record(trial) for trial in trials}) == 12


def test_a_batch_spreads() -> None:
    """Running trials count as if they had ended as expected: four asks at once are four different candidates."""
    study = optuna.create_study(directions=DIRECTIONS, sampler=make())
    study.optimize(lambda trial: values(draw(trial)), n_trials=12)
    batch = [study.ask() for _ in range(4)]
    assert len({record(trial) for trial in batch}) == 4
    volumes = [gain_of(trial)["hypervolume"] for trial in study.trials[12:]]  # type: ignore[index]
    assert volumes == sorted(volumes)
    assert volumes[0] < volumes[-1]


def test_anchors_are_the_first_trials() -> None:
    study = optuna.create_study(
        directions=DIRECTIONS, sampler=make(anchors=[lambda _, choices: choices[-1], lambda _, choices: choices[0]])
    )
    study.optimize(lambda trial: values(draw(trial)), n_trials=4)
    assert study.trials[0].params == {name: choices[-1] for name, choices in CHOICES.items()}
    assert study.trials[1].params["width"] == 8


def test_anchors_take_the_middle_of_a_range() -> None:
    def space(trial: Any) -> list[float]:
        linear, log = trial.suggest_float("linear", 1.0, 3.0), trial.suggest_float("log", 0.01, 1.0, log=True)
        return [linear, log, trial.suggest_float("stepped", 0.0, 0.75, step=0.25), trial.suggest_int("whole", 1, 5)]

    sampler = ParetoSampler(lambda trial: tuple(space(trial)), seed=0, anchors=[lambda _, choices: choices[0]])
    assert space(optuna.create_study(sampler=sampler).ask()) == pytest.approx([2.0, 0.1, 0.5, 3])


def test_the_cheapest_candidate_comes_first() -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make(pool_size=600))
    assert values(draw(study.ask()))[1] == 8 * 1 * 9


def test_equal_records_are_one_candidate() -> None:
    def space(trial: Any) -> Any:
        return trial.suggest_categorical("a", (1, 2, 3)) + trial.suggest_categorical("b", (1, 2, 3))

    study = optuna.create_study(sampler=ParetoSampler(space, seed=0, pool_size=60, startup=3))
    study.optimize(lambda trial: float(space(trial)), n_trials=5)
    assert sorted(trial.values[0] for trial in study.trials) == [2, 3, 4, 5, 6]
    study.optimize(lambda trial: float(space(trial)), n_trials=1)  # nothing is new: it goes on all the same
    assert len(study.trials) == 6


def test_priors_steer_what_nothing_else_says() -> None:
    """With a prior that is right, the first candidate of the model is better than without it."""

    def after_start(priors: Any) -> float:
        study = optuna.create_study(sampler=make(costs=None, priors=priors, startup=4), direction="maximize")
        study.optimize(lambda trial: values(draw(trial))[0], n_trials=8)
        return float(np.mean([trial.values[0] for trial in study.trials[4:]]))

    assert after_start(lambda params: [values(dict(params))[0]]) > after_start(None)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"seed": True}, "seed: expected a whole number of at least 0, got True"),
        ({"startup": 0}, "startup: expected a whole number of at least 1, got 0"),
        ({"pool_size": 2.5}, "pool_size: expected a whole number of at least 1, got 2.5"),
    ],
)
def test_wrong_arguments(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(**changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"costs": lambda _: [1.0]}, "costs: expected 2 entries, one for each objective, got"),
        ({"costs": lambda _: 1.0}, "costs: expected 2 entries, one for each objective, got 1.0"),
        ({"costs": lambda _: [float("nan"), 1.0]}, "costs: expected each None, a finite number, or a tuple"),
        ({"costs": lambda _: [None, [1.0, 0.1]]}, "costs: expected each None, a finite number, or a tuple"),
        ({"costs": lambda _: [None, "small"]}, "costs: expected each None, a finite number, or a tuple"),
        ({"constraints": lambda _: [1.0]}, "constraints: expected numbers or .* by name, got"),
        ({"constraints": lambda _: {"cost": float("nan")}}, "constraints: expected numbers or .* by name, got"),
        ({"scales": ["log"]}, "scales: expected 2 of linear and log"),
        ({"features": lambda p: [1.0] * p["depth"]}, "features: expected equally many for every candidate"),
        ({"features": lambda _: [float("inf")]}, "features: expected finite numbers"),
        ({"priors": lambda _: [1.0]}, "priors: expected 2 entries"),
    ],
)
def test_wrong_answers(changed: dict[str, Any], said: str) -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make(**changed))
    with pytest.raises(ValueError, match=said):
        study.ask()


def test_an_unhashable_record() -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make(space=draw))
    with pytest.raises(TypeError, match="space: expected a hashable record of what was drawn, or None, got"):
        study.ask()


class Recording:
    """A journal driven like a search with several workers, whose sampler is new after every restart."""

    def __init__(self, file: Path, workers: int, **options: Any) -> None:
        self._file, self._workers, self._options = file, workers, options
        self.restart()

    def restart(self) -> None:
        self.journal, self.sampler = Journal(self._file, "study", DIRECTIONS), make(**self._options)

    def run(self, asks: int, restart_at: Sequence[int] = (), told: Sequence[int] | None = None) -> list[Genes]:
        proposed: list[Genes] = []
        for number in range(asks):
            if number in restart_at:
                self.restart()
            found, genes = self.journal.ask(self.sampler, draw, lambda genes: {"genes": genes})
            assert found == number
            proposed.append(genes)
            running = [trial.number for trial in self.journal.trials() if trial.state is TrialState.RUNNING]
            if len(running) >= self._workers:  # the second-oldest ends first: results do not come in order
                self._tell(running[min(1, len(running) - 1)])
        return proposed

    def _tell(self, number: int) -> None:
        genes = self.journal.trials()[number].user_attrs["genes"]
        told = None if number % 11 == 7 else values(genes)  # some fail
        self.journal.tell(number, told, constraints=slacks(genes), notes={"row": number})


@pytest.mark.parametrize("workers", [1, 4])
def test_a_restart_at_every_ask_changes_no_proposal(tmp_path: Path, workers: int) -> None:
    asks = 28
    straight = Recording(tmp_path / "a.log", workers, pool_size=60).run(asks)
    assert Recording(tmp_path / "b.log", workers, pool_size=60).run(asks, range(asks)) == straight


def test_recorded_asks_in_the_middle_of_a_study(tmp_path: Path) -> None:
    """Each ask, recorded with four workers' running trials, is asked again by a sampler that saw nothing before it."""
    recording = Recording(tmp_path / "study.log", 4, pool_size=60)
    proposed = recording.run(24)
    lines = (tmp_path / "study.log").read_text().splitlines(keepends=True)
    begun = [place for place, line in enumerate(lines) if json.loads(line).get("state") == TrialState.RUNNING]
    assert len(begun) == 24
    for asked in (9, 14, 20):
        written = "sampler_state" in lines[begun[asked] - 1]  # by this very ask
        file = tmp_path / f"until-{asked}.log"
        file.write_text("".join(lines[: begun[asked] - written]))
        journal = Journal(file, "study", DIRECTIONS)
        assert journal.ask(make(pool_size=60), draw, lambda _: {}) == (asked, proposed[asked])


@pytest.mark.parametrize("heard", [True, False])
def test_scores_before_the_end_are_heard(heard: bool) -> None:
    """Stopped trials whose scores promise much draw the search to their neighbours, those without scores do not."""

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        loss = 1 - 0.7 * np.exp(-(((x - 0.25) / 0.06) ** 2)) - 0.4 * x
        if heard or trial.number < 8:
            trial.set_user_attr("halving:rungs", {"0.25": [loss + 0.05]})
        if trial.number >= 8 and trial.number < 11:
            raise optuna.TrialPruned
        return float(loss)

    sampler = ParetoSampler(lambda trial: trial.suggest_float("x", 0.0, 1.0), seed=0, pool_size=100)
    study = optuna.create_study(sampler=sampler)
    for x in (0.0, 0.1, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.24, 0.26, 0.55):
        study.enqueue_trial({"x": x})
    study.optimize(objective, n_trials=12)
    assert (abs(study.trials[-1].params["x"] - 0.25) < 0.08) == heard


def test_constraints_may_be_of_some_candidates_alone() -> None:
    def deep(params: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
        return {"kernel": (params["block2.kernel"] - 3.0, 0.1)} if "block2.kernel" in params else {}

    study = optuna.create_study(directions=DIRECTIONS, sampler=make(constraints=deep))
    study.optimize(lambda trial: values(draw(trial)), n_trials=14)
    assert {trial.params.get("block2.kernel", 3) for trial in study.trials} == {3}


def test_an_infinite_constraint_is_broken() -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make())

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        genes = draw(trial)
        trial.set_constraint("depth", float("inf") if genes["depth"] > 1 else -2.0)
        return values(genes)

    study.optimize(objective, n_trials=20)
    assert sum(trial.params["depth"] == 1 for trial in study.trials[10:]) > 5


def test_trials_that_were_scored_and_stopped_end_the_start() -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make())

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        found = values(draw(trial))
        trial.set_user_attr("halving:rungs", {"0.5": list(found)})
        if 3 <= trial.number < 8:
            raise optuna.TrialPruned
        return found

    study.optimize(objective, n_trials=9)
    assert [gain_of(trial) is not None for trial in study.trials] == [False] * 8 + [True]


def test_infinite_values_are_passed_over() -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make())
    study.optimize(lambda trial: (float("-inf"), values(draw(trial))[1]), n_trials=1)
    study.optimize(lambda trial: values(draw(trial)), n_trials=11)
    assert len({str(sorted(trial.params.items())) for trial in study.trials}) == 12


@pytest.mark.parametrize("features", [None, lambda _: [1.0]])
def test_a_space_in_which_nothing_varies(features: Any) -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make(space=single, costs=None, features=features))
    study.optimize(lambda trial: (single(trial)[0], 1.0), n_trials=12)
    assert {trial.params["n"] for trial in study.trials} == {3}


def single(trial: Any) -> tuple[int]:
    return (trial.suggest_int("n", 3, 3),)


def test_features_that_never_vary() -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make(costs=None, features=lambda _: [1.0]))
    study.optimize(lambda trial: values(draw(trial)), n_trials=12)
    assert len({str(sorted(trial.params.items())) for trial in study.trials}) == 12


def test_one_sampler_serves_studies_of_other_objectives() -> None:
    sampler, asked = make(costs=None), []
    for kept in (sampler, make(costs=None)):
        study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
        study.optimize(lambda trial: values(draw(trial)), n_trials=10)
        study = optuna.create_study(direction="maximize", sampler=kept)
        study.optimize(lambda trial: values(draw(trial))[0], n_trials=10)
        asked.append([trial.params for trial in study.trials])
    assert asked[0] == asked[1]


def test_it_is_pickled_with_its_study() -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make())
    study.optimize(lambda trial: values(draw(trial)), n_trials=10)
    again = pickle.loads(pickle.dumps(study))
    assert again.ask().number == study.ask().number
    assert record(again.ask()) == record(study.ask())


def test_choices_that_cannot_be_compared() -> None:
    def space(trial: Any) -> None:
        trial.suggest_categorical("sizes", ([1, 2], [3, 4]))

    study = optuna.create_study(directions=DIRECTIONS, sampler=make(space=space, costs=None))
    with pytest.raises(TypeError, match="choices: expected None, bool, int, float or str, got"):
        study.ask()
