"""Samplers for any Optuna study whose genes are conditional: what a plain script needs of them.

study = optuna.create_study(directions=["maximize", "minimize"], sampler=make_sampler("nsga2", seed=0))
"""

from typing import TYPE_CHECKING, Any

from nas.samplers.genetic import ConditionalNSGAII, ConditionalNSGAIII, Inheritance, constrained_dominates, genes_so_far
from nas.samplers.given import Anchored, Replayed
from nas.samplers.halving import Halving, rung_values
from nas.samplers.named import SAMPLERS, make_sampler, seed_of

if TYPE_CHECKING:
    from nas.samplers.pareto import ParetoSampler

__all__ = [
    "SAMPLERS",
    "Anchored",
    "ConditionalNSGAII",
    "ConditionalNSGAIII",
    "Halving",
    "Inheritance",
    "ParetoSampler",
    "Replayed",
    "constrained_dominates",
    "genes_so_far",
    "make_sampler",
    "rung_values",
    "seed_of",
]


def __getattr__(name: str) -> Any:
    """ParetoSampler stands on scipy, which the others start without."""
    if name == "ParetoSampler":
        from nas.samplers.pareto import ParetoSampler

        return ParetoSampler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
