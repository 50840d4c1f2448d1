"""Regularized evolution (Real et al. 2019, arXiv:1802.01548) as an Optuna sampler, for several objectives."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.samplers.gene_by_gene import GeneByGene
from nas.samplers.genetic import constrained_dominates


class RegularizedEvolution(GeneByGene):
    """A child is a parent with one gene drawn again; genes that the parent lacks are drawn too.

    The parent is a member of a random tournament among the youngest `population` trials that no other member
    dominates: with one objective this is the paper's.
    """

    def __init__(self, seed: int, *, population: int = 40, tournament: int = 20) -> None:
        self._random = np.random.default_rng(seed)
        self._population, self._tournament = population, tournament
        self._inherited: dict[str, Any] = {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Chooses the parent, and which of its genes is drawn again."""
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        self._inherited = {}
        if len(done) >= self._population:
            parent = self._parent(study, done[-self._population :])
            mutated = sorted(parent.params)[int(self._random.integers(len(parent.params)))]
            self._inherited = {gene: value for gene, value in parent.params.items() if gene != mutated}

    def _parent(self, study: optuna.Study, population: list[FrozenTrial]) -> FrozenTrial:
        chosen = self._random.choice(len(population), self._tournament, replace=False)
        members = [population[index] for index in chosen]
        best: list[FrozenTrial] = [
            m for m in members if not any(constrained_dominates(other, m, study) for other in members)
        ]
        return best[int(self._random.integers(len(best)))]

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if param_name in self._inherited:
            return self._inherited[param_name]
        assert isinstance(param_distribution, CategoricalDistribution), f"{param_name}: expected choices"
        return param_distribution.choices[self._random.integers(len(param_distribution.choices))]
