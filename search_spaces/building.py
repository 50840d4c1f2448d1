"""From any architecture to its untrained torch network."""

from __future__ import annotations

from typing import assert_never

from torch import nn

from search_spaces.architecture import Architecture
from search_spaces.existing.architecture import ExistingArchitecture
from search_spaces.existing.building import build_existing
from search_spaces.network import build_network


def build_any(
    architecture: Architecture | ExistingArchitecture,
    num_classes: int,
    *,
    mean: float = 0.5,
    std: float = 0.25,
    seed: int | None = None,
    dropout: float = 0.0,
    begins: bool = True,
) -> nn.Module:
    """Build the uncompressed network: one of our blocks, or one that exists already, with the weights it begins with.

    `seed` fixes random weights without touching torch's global state; `dropout` before the last layer belongs to the
    training. Without `begins` the weights that an existing network begins with are left out.
    """
    match architecture:
        case Architecture():
            return build_network(architecture, num_classes, mean=mean, std=std, seed=seed, dropout=dropout)
        case ExistingArchitecture():
            return build_existing(
                architecture, num_classes, mean=mean, std=std, seed=seed, dropout=dropout, begins=begins
            )
        case _:
            assert_never(architecture)
