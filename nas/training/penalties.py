"""Penalties: what a recipe adds to the loss besides the data's, by how it wants weights to be."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from compressors.coding.rate import mean_bits
from nas.study import Recipe

Penalty = Callable[[nn.Module], Tensor]

# Number of the recipe -> network -> a scalar, which is multiplied by that number and added to the loss.
PENALTIES: dict[str, Penalty] = {"rate_weight": mean_bits}


def penalties_of(recipe: Recipe) -> list[tuple[float, Penalty]]:
    """Weight and penalty of those that the recipe asks for."""
    given = ((getattr(recipe, name), penalty) for name, penalty in PENALTIES.items())
    return [(weight, penalty) for weight, penalty in given if weight]
