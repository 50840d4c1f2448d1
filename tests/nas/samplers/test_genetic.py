"""Samplers: one contract for all of them, and how NSGA's children inherit genes that some networks lack."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.pareto import hypervolume
from nas.samplers.genetic import Inheritance, constrained_dominates, genes_so_far
from nas.samplers.named import make_sampler, seed_of
from nas.search.journal import Direction, Journal

SAMPLERS = ("random", "tpe", "nsga2", "nsga3")
DIRECTIONS: list[Direction] = ["maximize", "minimize"]
POPULATION, ASKS = 6, 32
Genes = dict[str, Any]


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


KERNELS, EXPANSIONS, WIDTHS = (3, 5, 7), (1, 2, 3, 4, 6), (8, 16, 24, 32)
CHOICES: dict[str, Sequence[Any]] = {"depth": (1, 2, 3), "width": WIDTHS}
CHOICES |= {f"block{i}.kernel": KERNELS for i in (1, 2, 3)}
CHOICES |= {f"block{i}.expansion": EXPANSIONS for i in (1, 2, 3)}


def draw(trial: optuna.Trial) -> Genes:
    """A network in small: the genes of a block are asked for only where the block is there."""

    def ask(name: str) -> Any:
        return trial.suggest_categorical(name, CHOICES[name])

    genes = {name: ask(name) for name in ("depth", "width")}
    for block in range(1, genes["depth"] + 1):
        genes |= {name: ask(name) for name in (f"block{block}.kernel", f"block{block}.expansion")}
    return genes


def values(genes: Genes) -> tuple[float, float]:
    """A score that each block adds to, some choices being better at the same cost, and the cost."""
    missing, cost = 1.0, 0.0
    for block in range(1, genes["depth"] + 1):
        kernel, expansion = genes[f"block{block}.kernel"], genes[f"block{block}.expansion"]
        best = KERNELS[block % 3]
        missing *= 1 - 0.12 * expansion ** (0.6 if kernel == best else 0.2)
        cost += genes["width"] * expansion * kernel**2
    return 1 - missing * (1 - 0.1 * (genes["width"] / 32) ** 0.5), cost


def slacks(genes: Genes) -> dict[str, float]:
    """Half of the space is too expensive."""
    return {"cost": values(genes)[1] / 1500 - 1}


class Recording:
    """A journal that is driven like a search with `workers` tasks in flight, and asked for what it proposed."""

    def __init__(self, file: Path, sampler: str, *, seed: int = 0, workers: int = 1) -> None:
        self._file, self._sampler, self._seed, self._workers = file, sampler, seed, workers
        self.restart()

    def restart(self) -> None:
        self.journal = Journal(self._file, "study", DIRECTIONS)

    def run(self, asks: int, restart_at: Sequence[int] = ()) -> list[Genes]:
        proposed: list[Genes] = []
        for number in range(asks):
            if number in restart_at:
                self.restart()
            sampler = make_sampler(self._sampler, seed=seed_of(self._seed, number), population=POPULATION)
            found, genes = self.journal.ask(sampler, draw, lambda genes: {"genes": genes})
            assert found == number
            proposed.append(genes)
            if number + 1 >= self._workers:
                self._tell(number + 1 - self._workers)
        return proposed

    def _tell(self, number: int) -> None:
        genes = self.journal.trials()[number].user_attrs["genes"]
        told = None if number % 11 == 7 else values(genes)  # some fail
        self.journal.tell(number, told, slacks(genes), {"row": number})


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_are_valid(tmp_path: Path, sampler: str) -> None:
    recording = Recording(tmp_path / "study.log", sampler)
    for genes, trial in zip(recording.run(ASKS), recording.journal.trials(), strict=True):
        assert trial.params == genes
        assert all(value in CHOICES[name] for name, value in genes.items())
        assert set(genes) == {n for n in CHOICES if not n.startswith("block") or int(n[5]) <= genes["depth"]}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_restart_changes_no_proposal(tmp_path: Path, sampler: str, workers: int) -> None:
    straight = Recording(tmp_path / "a.log", sampler, workers=workers).run(ASKS)
    assert Recording(tmp_path / "b.log", sampler, workers=workers).run(ASKS, [ASKS // 2]) == straight
    assert Recording(tmp_path / "c.log", sampler, workers=workers).run(ASKS, range(1, ASKS, 3)) == straight


PROPOSE = """
import runpy, sys
from pathlib import Path
tests = runpy.run_path(sys.argv[1])
for sampler in tests["SAMPLERS"]:
    print(tests["Recording"](Path(sys.argv[2]) / sampler, sampler).run(24))
"""


def test_proposals_do_not_depend_on_the_process(tmp_path: Path) -> None:
    """Python hashes strings anew in every process: no order of a set may show."""
    said = []
    for salt in ("1", "2"):
        (tmp_path / salt).mkdir()
        command = [sys.executable, "-P", "-c", PROPOSE, __file__, str(tmp_path / salt)]
        environment = {**os.environ, "PYTHONHASHSEED": salt}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        said.append(ran.stdout)
    assert said[0].count("\n") == len(SAMPLERS)
    assert said[0] == said[1]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_seeds_differ(tmp_path: Path, sampler: str) -> None:
    first = Recording(tmp_path / "a.log", sampler, seed=0).run(ASKS)
    second = Recording(tmp_path / "b.log", sampler, seed=1).run(ASKS)
    assert sum(a != b for a, b in zip(first, second, strict=True)) > ASKS // 2
    assert len({str(genes) for genes in first}) > ASKS // 2


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_values_told_matter(tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but random search learn: told otherwise, they propose otherwise."""
    first = Recording(tmp_path / "a.log", sampler).run(ASKS)
    monkeypatch.setitem(globals(), "values", lambda genes: (-1.0 * genes["width"], 1.0 * genes["depth"]))
    second = Recording(tmp_path / "b.log", sampler).run(ASKS)
    assert (first == second) == (sampler == "random")


def test_unknown_sampler() -> None:
    with pytest.raises(ValueError, match="expected one of random, tpe, nsga2, nsga3, got 'nsga9'"):
        make_sampler("nsga9", seed=0)


def test_seeds_of_asks() -> None:
    assert len({seed_of(study, trial) for study in range(10) for trial in range(100)}) == 1000
    assert seed_of(0, 0) == seed_of(0, 0)


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
def test_beats_is_constrained_dominance(
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
