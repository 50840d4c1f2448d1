"""What a way of rounding weights has to tell: the protocol behind the rows of ROUNDINGS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from compressors.quantization import numerics


@dataclass(frozen=True)
class Grid:
    """Where the weights of a layer may lie.

    steps: (out,); zero_points: float (out,), None: all 0; entries: (k,), in the unit of weights, None: no codebook.
    """

    steps: Tensor
    zero_points: Tensor | None = None
    entries: Tensor | None = None


def above(grid: Grid, floor: Tensor) -> Tensor:
    """The steps of a grid, none below `floor` (out,)."""
    return torch.maximum(grid.steps, floor)


def in_steps_of(weight: Tensor, grid: Grid, codes: range) -> Tensor:
    """Where weights lie among codes that are their values in steps of a grid."""
    return numerics.in_steps(weight, grid.steps, codes)


@dataclass(frozen=True)
class Rounding:
    """How weights (out, ...) get to the codes of a format: its grid, codes, and values with gradients.

    fit: weight, codes allowed -> the grid of (nearly) least squared error.
    to_codes: weight, grid, codes allowed -> codes, as floats of the weight's shape.
    on_grid: weight, grid, codes allowed -> values; gradients reach the weight, and entries where there are any.
    learned: the same with gradients that reach the steps; None: they cannot be trained.
    steps: grid, least steps (out,) -> the steps that are used, which are no smaller.
    positions: weight, grid, codes allowed -> where weights lie among the codes, before rounding; with a codebook among
    its entries in ascending order, from the first code on. Gradients reach the weight, and learned steps.
    of_channels: whether a grid's channels may be multiplied each by a number of its own: it is a grid of this kind
    still, with steps that many times as large.
    """

    fit: Callable[[Tensor, range], Grid]
    to_codes: Callable[[Tensor, Grid, range], Tensor]
    on_grid: Callable[[Tensor, Grid, range], Tensor]
    learned: Callable[[Tensor, Grid, range], Tensor] | None = None
    steps: Callable[[Grid, Tensor], Tensor] = above
    of_channels: bool = True
    positions: Callable[[Tensor, Grid, range], Tensor] = in_steps_of


def straight_through(weight: Tensor, values: Tensor) -> Tensor:
    """Exactly `values`, whose gradient is the weight's."""
    return values.detach() + (weight - weight.detach())
