"""The layers of a blueprint. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.existing.blueprint import Blueprint
from search_spaces.layers import LayerSpec


def layers_of(
    blueprint: Blueprint, input_size: int, num_classes: int, kept: Mapping[str, int]
) -> tuple[LayerSpec, ...]:
    """Every layer once, in order of execution."""
    raise NotImplementedError
