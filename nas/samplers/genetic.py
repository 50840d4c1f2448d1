"""Genetic samplers for spaces with conditional genes, each usable in any Optuna study.

NSGA-II and III are Optuna's, except for how children are made: Optuna crosses over only genes that every trial so far
has had, so that genes of blocks which some networks lack would always be drawn at random.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import NSGAIIISampler, NSGAIISampler
from optuna.trial import FrozenTrial, TrialState


class Inheritance:
    """Makes a child of two parents: each gene from a parent that has it, and a few left to be drawn again.

    Parents are winners of binary tournaments by constrained dominance (Deb et al. 2002). A gene that neither parent
    has, and a mutated one (one per child on average), is sampled independently.
    """

    def __init__(self, seed: int, *, crossover_probability: float = 0.9) -> None:
        self._random = np.random.default_rng(seed)
        self._crossover_probability = crossover_probability

    def __call__(
        self, study: optuna.Study, space: dict[str, BaseDistribution], population: list[FrozenTrial]
    ) -> dict[str, Any]:
        # Optuna hands over a generation's parents in order of merit the first time, and by number after that.
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
        return second if constrained_dominates(second, first, study) else first


def constrained_dominates(first: FrozenTrial, second: FrozenTrial, study: optuna.Study) -> bool:
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
