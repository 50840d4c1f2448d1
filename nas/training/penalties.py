"""Penalties: what a recipe adds to the loss besides the data's, by how it wants weights to be."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from compressors.coding.rate import mean_bits
from compressors.pruning.slimming import scale_sparsity
from compressors.steps import FIRST_STAGE
from nas.study import Recipe

Penalty = Callable[[nn.Module], Tensor]

# Number of the recipe -> network -> a scalar, which is multiplied by that number and added to the loss.
PENALTIES: dict[str, Penalty] = {"bn_sparsity": scale_sparsity, "rate_weight": mean_bits}
DENSE_ONLY = frozenset({"bn_sparsity"})  # what ranks channels is of no use when they are gone


def penalties_of(recipe: Recipe, stage: str) -> list[tuple[float, Penalty]]:
    """Weight and penalty of those that the recipe asks for in a stage."""
    names = (name for name in PENALTIES if stage == FIRST_STAGE or name not in DENSE_ONLY)
    given = ((getattr(recipe, name), PENALTIES[name]) for name in names)
    return [(weight, penalty) for weight, penalty in given if weight]
