"""Samplers whose choices are given: for the first trials of a search, and for a draw that is known to be new."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from nas.samplers.spaces.recording import question_of, value_at
from search_spaces.trials import middle_of_range

Answer = Callable[[str, Sequence[Any]], Any]  # of a gene's name and choices


def anchored(answer: Answer, gene: str, distribution: BaseDistribution) -> Any:
    """An anchor's answer: of choices by its rule, of a range the middle, or the value in the middle of its steps."""
    if isinstance(distribution, CategoricalDistribution):
        return answer(gene, distribution.choices)
    if isinstance(distribution, FloatDistribution) and distribution.step is None:
        return middle_of_range(distribution.low, distribution.high, log=distribution.log)
    return value_at(question_of(distribution), 0.5)


class Anchored(BaseSampler):
    """Answers a categorical gene by its name and choices, and a range by its middle.

    In everything else it does what `sampler` does: NSGA counts such a trial to its generation, TPE to its start.
    """

    def __init__(self, sampler: BaseSampler, answer: Answer) -> None:
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
        if not isinstance(param_distribution, CategoricalDistribution | FloatDistribution):
            raise TypeError(f"gene {param_name}: expected choices or a range of floats, got {param_distribution}")
        return anchored(self._answer, param_name, param_distribution)


class Replayed(Anchored):
    """Answers every gene with its value in `values`."""

    def __init__(self, sampler: BaseSampler, values: Mapping[str, Any]) -> None:
        super().__init__(sampler, lambda gene, _: values[gene])
        self._values = values

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._values[param_name]
