"""Masks in a candidate: what is drawn, which decisions a network can have, and which have an effect. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from compressors.plan import NETWORK
from compressors.requests.masked import Amount, is_norm
from nas.candidates.drawing_steps import draw_each, draw_one
from nas.study import Compression
from search_spaces.layers import LayerSpec
from search_spaces.parts import Part
from search_spaces.protocols import ArchitectureLike
from search_spaces.trials import Trial


def draw_masks(
    trial: Trial, architecture: ArchitectureLike, compression: Compression, *, grid: int
) -> dict[str, dict[str, Any]]:
    """What becomes zero in every layer, or one budget of the network."""
    choices = compression.mask_choices
    if any(choice is not None and choice.scope == "global" for choice in choices):
        return draw_one(trial, key="mask", choices=choices)
    if all(choice is None for choice in choices):
        return {}
    return draw_each(trial, architecture, compression, key="mask", choices=choices, names=_layers)


def _layers(part: Part) -> list[str]:
    return [layer.name for layer in part.layers if not is_norm(layer)]


def check_masks(decisions: Mapping[str, Any], layers: Sequence[LayerSpec]) -> None:
    """Raises ValueError for what is no amount, and for layers without weights to mask."""
    if norms := [layer.name for layer in layers if layer.name in decisions and is_norm(layer)]:
        raise ValueError(f"masked of {norms[0]}: expected a convolution or a linear layer, got a batch norm")
    for name, decision in decisions.items():
        try:
            Amount.of(decision)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def masks_with_effect(decisions: Mapping[str, Any], layers: Iterable[LayerSpec]) -> dict[str, Any]:
    """Those by which a weight becomes zero, as far as that is known of these layers."""
    shipped = tuple(layers)
    return {name: decision for name, decision in decisions.items() if _has_effect(name, Amount.of(decision), shipped)}


def _has_effect(name: str, amount: Amount, layers: Sequence[LayerSpec]) -> bool:
    """Of the classifier, whose classes are not known, whatever may have one."""
    own = [layer for layer in layers if layer.whole == name or layer.name == name]
    if amount.threshold is not None or name == NETWORK or any(layer.kind == "linear" for layer in own):
        return amount.ratio != 0 and amount.zeros != 0
    return any(amount.zeros_of(layer.weight_count) for layer in own)
