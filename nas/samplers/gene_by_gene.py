"""Samplers that answer gene by gene, as a trial asks: nobody knows beforehand what will be asked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from nas.samplers.locks import Lock
from nas.samplers.spaces.recording import Params, allows, question_of


class GeneByGene(BaseSampler):
    """No genes are drawn together: all are left to `sample_independent`."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}


class Proposing(GeneByGene):
    """Chooses all genes of a trial before it asks for the first; threads that share the sampler choose in turn."""

    def __init__(self) -> None:
        self._chosen: dict[int, Params] = {}  # of running trials, which may not have asked for all of it yet
        self._lock = Lock()

    @abstractmethod
    def _choice(self, study: optuna.Study, trial: FrozenTrial) -> Params:
        """The genes of a trial, as far as they can be told."""

    @abstractmethod
    def _unchosen(self, trial: FrozenTrial, gene: str, distribution: BaseDistribution) -> Any:
        """The answer for a gene that was not chosen, or not so that it is one of the values asked for."""

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        with self._lock:
            self._chosen[trial.number] = self._choice(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        with self._lock:
            self._chosen.pop(trial.number, None)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        chosen = self._chosen.get(trial.number, {})
        if param_name in chosen and allows(question_of(param_distribution), chosen[param_name]):
            return chosen[param_name]
        return self._unchosen(trial, param_name, param_distribution)
