"""The samplers that ours is compared with, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from evolution import RegularizedEvolution
from optuna.samplers import BaseSampler
from reinforce import Reinforce

from nas.samplers.named import make_sampler

# Each made of a seed. TPE is multivariate with groups, NSGA-II crosses conditional genes too: as in a study.
BASELINES: Mapping[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: make_sampler("random", seed=seed),
    "tpe": lambda seed: make_sampler("tpe", seed=seed),
    "nsga2-20": lambda seed: make_sampler("nsga2", seed=seed, population=20),
    "nsga2-50": lambda seed: make_sampler("nsga2", seed=seed, population=50),
    "evolution": lambda seed: RegularizedEvolution(seed),
    "reinforce": lambda seed: Reinforce(seed),
}
