"""How NSGA's children inherit genes that some networks lack."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from conditional_genes import Genes, draw, values
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.pareto import hypervolume
from nas.samplers.genetic import Inheritance, constrained_dominates, genes_so_far
from nas.samplers.named import make_sampler, seed_of

POPULATION = 6
DIRECTIONS = ["maximize", "minimize"]


def frozen(
    number: int, params: Mapping[str, Any], *, costs: Sequence[float] = (0, 0), excess: Sequence[float] = ()
) -> FrozenTrial:
    trial = optuna.trial.create_trial(
        values=list(costs),
        params=dict(params),
        distributions={name: CategoricalDistribution(tuple(range(100))) for name in params},
    )
    for i, slack in enumerate(excess):
        trial.set_constraint(f"c{i}", slack)
    trial.number = number
    return trial


genes_of_a_parent = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 99), min_size=1)


@given(st.lists(genes_of_a_parent, min_size=1, max_size=5), st.integers(0, 2**31))
def test_every_gene_is_one_of_two_parents_or_missing(parents: list[Genes], seed: int) -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    population = [frozen(i, genes, costs=(i, -i)) for i, genes in enumerate(parents)]
    space = {name: CategoricalDistribution(tuple(range(100))) for name in "abcdefghz"}
    make = Inheritance(seed)
    for _ in range(3):
        child = make(study, space, population)
        assert "z" not in child  # no parent has it
        fits = [
            all(name in (*a, *b) and value in (a.get(name), b.get(name)) for name, value in child.items())
            for a in parents
            for b in parents
        ]
        assert any(fits)


@given(st.lists(genes_of_a_parent, min_size=1, max_size=5), st.integers(0, 2**31))
def test_the_order_of_the_population_does_not_count(parents: list[Genes], seed: int) -> None:
    """Optuna gives the parents in another order when it reads them from its cache, as after a restart."""
    study = optuna.create_study(directions=["minimize", "minimize"])
    population = [frozen(i, genes, costs=(i % 2, 0)) for i, genes in enumerate(parents)]
    space = {name: CategoricalDistribution(tuple(range(100))) for name in "abcdefgh"}
    assert Inheritance(seed)(study, space, population) == Inheritance(seed)(study, space, population[::-1])


def test_one_gene_mutates_on_average_and_both_parents_give() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    names = [f"g{i:02}" for i in range(20)]
    population = [frozen(i, dict.fromkeys(names, i), costs=(i, -i)) for i in range(2)]
    space = {name: CategoricalDistribution(tuple(range(100))) for name in names}
    make = Inheritance(0)
    children = [make(study, space, population) for _ in range(1000)]
    assert 0.9 < statistics.mean(20 - len(child) for child in children) < 1.1
    mixed = [child for child in children if len(set(child.values())) == 2]
    assert 0.4 < len(mixed) / 1000 < 0.5  # crossover in 90 %, two different parents in half of these
    assert 0.45 < statistics.mean(value for child in mixed for value in child.values()) < 0.55


def test_the_better_parent_wins_its_tournaments() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    population = [frozen(i, {"a": i}, costs=(i, i)) for i in range(2)]
    make = Inheritance(0, crossover_probability=0.0)
    space = {"a": CategoricalDistribution(tuple(range(100))), "b": CategoricalDistribution((0, 1))}
    monogenic = [make(study, space, population) for _ in range(100)]
    assert all(child == {} for child in monogenic)  # a lone gene always mutates: one per child on average
    population = [frozen(i, {"a": i, "b": i}, costs=(i, i)) for i in range(2)]
    given_values = [value for _ in range(1000) for value in make(study, space, population).values()]
    assert 0.2 < statistics.mean(given_values) < 0.3  # the worse one only when drawn against itself


few = st.integers(-2, 2)
told = st.tuples(st.tuples(few, few), st.lists(few, max_size=2).map(tuple))


@given(told, told, st.lists(st.sampled_from(["minimize", "maximize"]), min_size=2, max_size=2))
def test_constrained_dominance(
    first: tuple[Sequence[float], Sequence[float]],
    second: tuple[Sequence[float], Sequence[float]],
    directions: list[str],
) -> None:
    study = optuna.create_study(directions=directions)
    trials = [frozen(i, {"a": 0}, costs=costs, excess=excess) for i, (costs, excess) in enumerate((first, second))]

    def violation(excess: Sequence[float]) -> float:
        return sum(slack for slack in excess if slack > 0)

    def better(a: float, b: float, direction: str) -> bool:
        return a < b if direction == "minimize" else a > b

    def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
        better_somewhere = any(map(better, a, b, directions))
        return better_somewhere and not any(map(better, b, a, directions))

    violations = violation(first[1]), violation(second[1])
    if violations == (0, 0):
        expected = dominates(first[0], second[0])
    elif 0 in violations:
        expected = violations[0] == 0
    else:
        expected = violations[0] < violations[1]
    assert constrained_dominates(trials[0], trials[1], study) == expected


def test_genes_so_far_are_those_of_any_complete_trial() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    study.add_trial(frozen(0, {"a": 0, "b": 1}))
    study.add_trial(frozen(1, {"a": 0, "c": 1}))
    single = optuna.trial.create_trial(
        values=[0, 0], params={"single": 0}, distributions={"single": CategoricalDistribution((0,))}
    )
    failed = optuna.trial.create_trial(
        state=TrialState.FAIL, params={"d": 0}, distributions={"d": CategoricalDistribution((0, 1))}
    )
    study.add_trials([single, failed])
    assert set(genes_so_far(study)) == {"a", "b", "c"}


def test_genes_of_trials_that_end_later_and_of_other_studies() -> None:
    study, other = (optuna.create_study(directions=["minimize", "minimize"]) for _ in range(2))
    first, second = study.ask(), study.ask()
    first.suggest_categorical("early", (0, 1))
    second.suggest_categorical("late", (0, 1))
    study.tell(second, [0, 0])
    assert set(genes_so_far(study)) == {"late"}
    study.tell(first, [0, 0])
    assert set(genes_so_far(study)) == set(genes_so_far(study)) == {"early", "late"}
    assert genes_so_far(other) == {}


def drive(sampler: str, seed: int, asks: int, draw_one: Callable[[optuna.Trial], Genes]) -> list[Genes]:
    """Ask and tell in memory, every ask with a sampler of its own, as the journal does it."""
    study = optuna.create_study(directions=DIRECTIONS)
    found = []
    for number in range(asks):
        study.sampler = make_sampler(sampler, seed=seed_of(seed, number), population=16)
        trial = study.ask()
        found.append(draw_one(trial))
        study.tell(trial, values({name: gene for name, gene in found[-1].items() if name != "tag"}))
    return found


@pytest.mark.parametrize("sampler", ["nsga2", "nsga3"])
def test_conditional_genes_are_inherited(sampler: str) -> None:
    """A gene of a thousand values that only deep networks have: equal values come from inheritance, not by chance."""

    def draw_tagged(trial: optuna.Trial) -> Genes:
        genes = draw(trial)
        return genes | ({"tag": trial.suggest_categorical("tag", range(1000))} if genes["depth"] == 3 else {})

    found = drive(sampler, 0, 80, draw_tagged)
    ancestors = {genes["tag"] for genes in found[:16] if "tag" in genes}
    later = [genes["tag"] for genes in found[16:] if "tag" in genes]
    assert len(later) > 15
    assert sum(tag in ancestors for tag in later) > len(later) / 2


def volume_of(found: Sequence[Genes]) -> float:
    points = np.array([(1 - score, np.log(cost)) for score, cost in map(values, found)])
    return hypervolume(points, [1.0, np.log(32 * 6 * 49 * 3.0)])


def test_nsga2_finds_a_larger_front_than_random_search() -> None:
    gains = []
    for seed in range(6):
        guided, blind = (volume_of(drive(name, seed, 120, draw)) for name in ("nsga2", "random"))
        gains.append(guided - blind)
    assert statistics.mean(gains) > 0
    assert sum(gain > 0 for gain in gains) >= 4
