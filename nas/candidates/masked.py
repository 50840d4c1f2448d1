"""Which decisions on single weights a network can have, and which have an effect. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from compressors.masking.request import WHOLE, Amount
from search_spaces.layers import LayerSpec


def check_masks(decisions: Mapping[str, Any], _: Sequence[LayerSpec]) -> None:
    """Raises ValueError for what is no amount."""
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
    if amount.threshold is not None or name == WHOLE:
        return amount.ratio != 0
    own = (layer for layer in layers if f"{layer.name}.".startswith(f"{name}."))
    return any(amount.zeros_of(layer.weight_count) for layer in own)
