"""Samplers for spaces with conditional genes, each usable in any Optuna study.

NSGA-II and III are Optuna's, but for how children are made: stock Optuna crosses over only genes that every trial so
far has had, so that blocks which some networks lack would be drawn at random for ever.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from nas.hyperparameters import middle_of_range


def make_sampler(name: str, *, seed: int, population: int = 50) -> BaseSampler:
    """A sampler by its name in the study file: random, tpe (multivariate, group), nsga2 or nsga3."""
    if name not in _MAKERS:
        raise ValueError(f"sampler: expected one of {', '.join(_MAKERS)}, got {name!r}")
    with warnings.catch_warnings():
        # Optuna marks the arguments that these samplers rest on as experimental at every construction.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _MAKERS[name](seed, population)


def seed_of(study_seed: int, trial: int) -> int:
    """The seed of one ask: the same after any number of restarts."""
    return int(np.random.SeedSequence([study_seed, trial]).generate_state(1)[0])


class Inheritance:
    """Makes a child of two parents: each gene from a parent that has it, now and then left to be drawn anew.

    Parents are winners of binary tournaments by constrained dominance (Deb et al. 2002). A gene that neither parent
    has, and a mutated one (one per child on average), is sampled independently.
    """

    def __init__(self, seed: int, *, crossover_probability: float = 0.9) -> None:
        self._random = np.random.default_rng(seed)
        self._crossover_probability = crossover_probability

    def __call__(
        self, study: optuna.Study, space: dict[str, BaseDistribution], population: list[FrozenTrial]
    ) -> dict[str, Any]:
        # Optuna hands over a generation's parents in order of merit once, and by number ever after.
        population = sorted(population, key=lambda trial: trial.number)
        parents = [self._tournament(study, population)]
        if self._random.random() < self._crossover_probability:
            parents.append(self._tournament(study, population))
        inherited: dict[str, Any] = {}
        for gene in sorted(space):
            givers = [parent for parent in parents if gene in parent.params]
            if givers:
                inherited[gene] = givers[self._random.integers(len(givers))].params[gene]
        rate = 1 / max(1, len(inherited))
        return {gene: value for gene, value in inherited.items() if self._random.random() >= rate}

    def _tournament(self, study: optuna.Study, population: list[FrozenTrial]) -> FrozenTrial:
        first, second = (population[self._random.integers(len(population))] for _ in range(2))
        return second if beats(second, first, study) else first


def beats(first: FrozenTrial, second: FrozenTrial, study: optuna.Study) -> bool:
    """Constrained dominance: less violation wins; without any, no worse in all objectives and better in one."""
    violations = [sum(max(0.0, v) for v in trial.constraints.values()) for trial in (first, second)]
    if any(violations):
        return violations[0] < violations[1]
    signs = [1 if d == optuna.study.StudyDirection.MINIMIZE else -1 for d in study.directions]
    pairs = [(s * a, s * b) for s, a, b in zip(signs, first.values, second.values, strict=True)]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def genes_so_far(study: optuna.Study) -> dict[str, BaseDistribution]:
    """Every gene that a complete trial has had, conditional ones too. Reads each complete trial of a study once."""
    read, found = _GENES.setdefault(study, (set(), {}))
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if trial.number not in read:
            read.add(trial.number)
            found.update(trial.distributions)
    return {gene: distribution for gene, distribution in found.items() if not distribution.single()}


# By study: the complete trials read and the genes they had. Complete trials never change.
_GENES: WeakKeyDictionary[optuna.Study, tuple[set[int], dict[str, BaseDistribution]]] = WeakKeyDictionary()


class ConditionalNSGAII(NSGAIISampler):
    """Optuna's NSGA-II (Deb et al. 2002) over all genes seen so far."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return genes_so_far(study)


class ConditionalNSGAIII(NSGAIIISampler):
    """Optuna's NSGA-III (Deb and Jain 2014) over all genes seen so far."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return genes_so_far(study)


class Anchored(BaseSampler):
    """A sampler whose choices are given, as those of the first trials; of a range it takes the middle.

    All else it does as ever: NSGA counts such a trial to its generation, TPE to its start.
    """

    def __init__(self, sampler: BaseSampler, answer: Callable[[str, Sequence[Any]], Any]) -> None:
        self._sampler, self._answer = sampler, answer

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._sampler.sample_relative(study, trial, search_space)  # notes the trial's generation
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if isinstance(param_distribution, CategoricalDistribution):
            return self._answer(param_name, param_distribution.choices)
        if isinstance(param_distribution, FloatDistribution):
            return middle_of_range(param_distribution.low, param_distribution.high, log=param_distribution.log)
        raise TypeError(f"gene {param_name}: expected choices or a range of floats, got {param_distribution}")


class Replayed(Anchored):
    """A sampler whose values are given, as those of a draw that is known to be new."""

    def __init__(self, sampler: BaseSampler, values: Mapping[str, Any]) -> None:
        super().__init__(sampler, lambda gene, _: values[gene])
        self._values = values

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._values[param_name]


def _random(seed: int, _: int) -> BaseSampler:
    return RandomSampler(seed=seed)


def _tpe(seed: int, _: int) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _nsga2(seed: int, population: int) -> BaseSampler:
    return ConditionalNSGAII(seed=seed, population_size=population, child_generation_strategy=Inheritance(seed))


def _nsga3(seed: int, population: int) -> BaseSampler:
    return ConditionalNSGAIII(seed=seed, population_size=population, child_generation_strategy=Inheritance(seed))


_MAKERS: Mapping[str, Callable[[int, int], BaseSampler]] = {
    "random": _random,
    "tpe": _tpe,
    "nsga2": _nsga2,
    "nsga3": _nsga3,
}
