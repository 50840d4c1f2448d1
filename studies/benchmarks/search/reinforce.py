"""REINFORCE (Williams 1992) as an Optuna sampler: a softmax policy per gene, as in HAQ and AMC, for several objectives.

One network is found for one preference; a front needs several. So there is a policy for each of some weightings of the
objectives, and trials take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.samplers.gene_by_gene import GeneByGene

Vector = NDArray[np.float64]


def preferences(objectives: int) -> list[Vector]:
    """Weightings of all objectives: each alone weighs most, each pair, and all equally."""
    groups = [group for size in range(1, objectives + 1) for group in combinations(range(objectives), size)]
    found = []
    for group in groups:
        weights = np.full(objectives, 0.1)
        weights[list(group)] = 1.0
        found.append(weights / weights.sum())
    return found


class Reinforce(GeneByGene):
    """Reward: minus the weighted mean of a trial's ranks among all so far, as shares; baseline: a running mean."""

    def __init__(self, seed: int, *, rate: float = 3.0, memory: float = 0.9) -> None:
        self._random = np.random.default_rng(seed)
        self._rate, self._memory = rate, memory
        self._logits: list[dict[str, Vector]] = []
        self._baselines: list[float | None] = []
        self._weights: list[Vector] = []

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        assert isinstance(param_distribution, CategoricalDistribution), f"{param_name}: expected choices"
        choices = param_distribution.choices
        logits = self._policy(study, trial).setdefault(param_name, np.zeros(len(choices)))
        return choices[self._random.choice(len(choices), p=softmax(logits))]

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """One step of the policy that made the trial, along the gradient of its log probability."""
        if state != TrialState.COMPLETE or values is None:
            return
        turn, policy = self._turn(trial), self._policy(study, trial)
        reward = -float(self._weights[turn] @ self._ranks(study, np.asarray(values)))
        baseline = self._baselines[turn]
        advantage = 0.0 if baseline is None else reward - baseline
        self._baselines[turn] = reward if baseline is None else self._memory * baseline + (1 - self._memory) * reward
        for gene, value in trial.params.items():
            distribution = trial.distributions[gene]
            if gene in policy and isinstance(distribution, CategoricalDistribution):
                taken = np.zeros(len(policy[gene]))
                taken[distribution.choices.index(value)] = 1.0
                policy[gene] = policy[gene] + self._rate * advantage * (taken - softmax(policy[gene]))

    def _ranks(self, study: optuna.Study, values: Vector) -> Vector:
        """Per objective, the share of complete trials that are better."""
        told = [trial.values for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
        if not told:
            return np.full(len(values), 0.5)
        signs = [1.0 if direction == optuna.study.StudyDirection.MINIMIZE else -1.0 for direction in study.directions]
        better: Vector = (np.asarray(told) * signs < values * signs).mean(axis=0)
        return better

    def _turn(self, trial: FrozenTrial) -> int:
        return trial.number % len(self._weights)

    def _policy(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Vector]:
        if not self._weights:
            self._weights = preferences(len(study.directions))
            self._logits = [{} for _ in self._weights]
            self._baselines = [None] * len(self._weights)
        return self._logits[self._turn(trial)]


def softmax(logits: Vector) -> Vector:
    exponents = np.exp(logits - logits.max())
    shares: Vector = exponents / exponents.sum()
    return shares
