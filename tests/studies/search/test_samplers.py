"""The baselines of the search benchmark keep the contract of a sampler, and learn where there is something to learn."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import optuna
import pytest

Import = Callable[[str], ModuleType]
NAMES = ("random", "tpe", "nsga2-20", "nsga2-50", "evolution", "reinforce")


def objective(trial: optuna.Trial) -> tuple[float, float]:
    """Ones in one objective, zeros in the other; two genes exist only where the switch is on."""
    ones = [trial.suggest_categorical(f"gene{n}", (0, 1)) for n in range(6)]
    if trial.suggest_categorical("switch", (True, False)):
        ones += [trial.suggest_categorical(f"more{n}", (0, 1)) for n in range(2)]
    return float(sum(ones)), float(len(ones))


def trials_of(
    make: Callable[[int], optuna.samplers.BaseSampler], seed: int, count: int
) -> list[optuna.trial.FrozenTrial]:
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=make(seed))
    study.optimize(objective, n_trials=count)
    return study.trials


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_asks_only_for_genes_that_exist_and_repeats_itself_by_seed(module: Import, name: str) -> None:
    make = module("baselines").BASELINES[name]
    first, again, other = trials_of(make, 1, 60), trials_of(make, 1, 60), trials_of(make, 2, 60)
    assert [t.params for t in first] == [t.params for t in again]
    assert [t.params for t in first] != [t.params for t in other]
    for trial in first:
        assert len(trial.params) == (9 if trial.params["switch"] else 7)


def test_every_baseline_of_the_issue_is_there(module: Import) -> None:
    assert tuple(module("baselines").BASELINES) == NAMES


@pytest.mark.parametrize("name", ["evolution", "reinforce"])
def test_a_baseline_learns(module: Import, name: str) -> None:
    """The newest trials have fewer ones than the first, which are random."""
    found = []
    for seed in range(5):
        trials = trials_of(module("baselines").BASELINES[name], seed, 200)
        shares = [trial.values[0] / trial.values[1] for trial in trials]
        found.append(np.mean(shares[:40]) - np.mean(shares[-40:]))
    assert np.mean(found) > 0.1


def test_a_child_differs_from_its_parent_in_one_gene(module: Import) -> None:
    sampler = module("evolution").RegularizedEvolution(0, population=10, tournament=4)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    fixed = {f"gene{n}": optuna.distributions.CategoricalDistribution(tuple(range(50))) for n in range(5)}
    for _ in range(10):
        study.tell(study.ask(fixed), [0.0, 0.0])
    child = study.ask(fixed).params
    shared = [sum(child[gene] == parent.params[gene] for gene in fixed) for parent in study.trials[:10]]
    assert max(shared) >= 4


def test_preferences_are_shares(module: Import) -> None:
    found = module("reinforce").preferences(3)
    assert len(found) == 7
    assert all(weights.sum() == pytest.approx(1) for weights in found)
    assert np.allclose(found[-1], 1 / 3)
