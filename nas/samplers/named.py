"""Samplers by the names a study file gives them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from nas.samplers.genetic import ConditionalNSGAII, ConditionalNSGAIII, Inheritance


def make_sampler(name: str, *, seed: int, population: int = 50) -> BaseSampler:
    """A sampler by its name in the study file: random, tpe (multivariate, group), nsga2 or nsga3."""
    if name not in SAMPLERS:
        raise ValueError(f"sampler: expected one of {', '.join(SAMPLERS)}, got {name!r}")
    with warnings.catch_warnings():
        # Optuna warns at every construction that the arguments used here are experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return SAMPLERS[name](seed, population)


def seed_of(study_seed: int, trial: int) -> int:
    """The seed of one ask: the same after any number of restarts."""
    return int(np.random.SeedSequence([study_seed, trial]).generate_state(1)[0])


def _random(seed: int, _: int) -> BaseSampler:
    return RandomSampler(seed=seed)


def _tpe(seed: int, _: int) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _nsga2(seed: int, population: int) -> BaseSampler:
    return ConditionalNSGAII(seed=seed, population_size=population, child_generation_strategy=Inheritance(seed))


def _nsga3(seed: int, population: int) -> BaseSampler:
    return ConditionalNSGAIII(seed=seed, population_size=population, child_generation_strategy=Inheritance(seed))


# By name, each made of a seed and a population.
SAMPLERS: Mapping[str, Callable[[int, int], BaseSampler]] = {
    "random": _random,
    "tpe": _tpe,
    "nsga2": _nsga2,
    "nsga3": _nsga3,
}
