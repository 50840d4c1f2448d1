"""How the masks of a candidate's layers are drawn. No torch."""

from __future__ import annotations

from typing import Any

from nas.candidates.drawing_steps import draw_each, draw_one
from nas.study import Compression
from search_spaces.architecture import Architecture, Part
from search_spaces.trials import Trial


def draw_masks(
    trial: Trial, architecture: Architecture, compression: Compression, *, grid: int
) -> dict[str, dict[str, Any]]:
    """What becomes zero in every layer, or one budget of the network."""
    choices = compression.mask_choices
    if any(choice is not None and choice.scope == "global" for choice in choices):
        return draw_one(trial, key="mask", choices=choices)
    if all(choice is None for choice in choices):
        return {}
    return draw_each(trial, architecture, compression, key="mask", choices=choices, names=_layers)


def _layers(part: Part) -> list[str]:
    return [layer.name for layer in part.layers]
