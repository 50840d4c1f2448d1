"""The parts of a blueprint. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.existing.blueprint import Blueprint
from search_spaces.parts import Part


def parts_of(blueprint: Blueprint, input_size: int, num_classes: int, kept: Mapping[str, int]) -> tuple[Part, ...]:
    """The layers by part."""
    raise NotImplementedError
