"""Samplers for any Optuna study whose genes are conditional: what a plain script needs of them.

study = optuna.create_study(directions=["maximize", "minimize"], sampler=make_sampler("nsga2", seed=0))
"""

from nas.samplers.genetic import ConditionalNSGAII, ConditionalNSGAIII, Inheritance, constrained_dominates, genes_so_far
from nas.samplers.given import Anchored, Replayed
from nas.samplers.halving import Halving, rung_values
from nas.samplers.named import SAMPLERS, make_sampler, seed_of

__all__ = [
    "SAMPLERS",
    "Anchored",
    "ConditionalNSGAII",
    "ConditionalNSGAIII",
    "Halving",
    "Inheritance",
    "Replayed",
    "constrained_dominates",
    "genes_so_far",
    "make_sampler",
    "rung_values",
    "seed_of",
]
