"""Samplers for any Optuna study whose genes are conditional: what a plain script needs of them.

study = optuna.create_study(directions=["maximize", "minimize"], sampler=make_sampler("nsga2", seed=0))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nas.samplers.genetic import ConditionalNSGAII, ConditionalNSGAIII, Inheritance, constrained_dominates, genes_so_far
from nas.samplers.given import Anchored, Replayed
from nas.samplers.named import SAMPLERS, make_sampler, seed_of
from nas.samplers.reached import rung_values

if TYPE_CHECKING:
    from nas.samplers.grid import GridSampler
    from nas.samplers.halving import Halving
    from nas.samplers.pareto import ParetoSampler

__all__ = [
    "SAMPLERS",
    "Anchored",
    "ConditionalNSGAII",
    "ConditionalNSGAIII",
    "GridSampler",
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

# What stands on libraries that a script without it need not load: its module.
LATER = {
    "GridSampler": "nas.samplers.grid",
    "Halving": "nas.samplers.halving",
    "ParetoSampler": "nas.samplers.pareto",
}


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(LATER[name]), name)
