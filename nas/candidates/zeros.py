"""How many weights of a candidate's layers are masked, and the bits that the others take. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from compressors.formats import BITS
from compressors.plan import CompressionPlan
from compressors.requests.masked import STEP, Mask, asked
from search_spaces.layers import LayerSpec
from search_spaces.parts import Part


def mask_of_plan(plan: CompressionPlan) -> Mask | None:
    """What a plan asks of single weights."""
    return asked(plan) if plan.steps.get(STEP) else None


def zeros_in(layer: LayerSpec, record: Mask | None) -> int:
    """How many weights of a layer become zero, by a record that does not depend on weights."""
    amount = None if record is None else record.amount_of(layer.name)
    return 0 if amount is None else amount.zeros_of(layer.weight_count)


def zeros_of(layers: Sequence[LayerSpec], record: Mask | None) -> tuple[int, ...]:
    """The zeros of layers; nothing where there are none."""
    found = tuple(zeros_in(layer, record) for layer in layers) if record is not None else ()
    return found if any(found) else ()


def likely_shares(part: Part, record: Mask | None) -> tuple[float, ...]:
    """The shares of zeros to be expected in a part's layers; nothing where no weight is masked."""
    return () if record is None else tuple(_likely_share(layer, record) for layer in part.layers)


def _likely_share(layer: LayerSpec, record: Mask) -> float:
    """Where it depends on weights it is the same in all layers, and the larger, the larger a threshold is."""
    amount = record.amount_of(layer.name)
    if amount is None:
        return 0.0
    if amount.threshold is not None:
        return 1 - 1 / (1 + 10 * amount.threshold)
    return amount.zeros_of(layer.weight_count) / layer.weight_count if amount.ratio is None else amount.ratio


def stored_bits(layer: LayerSpec, weight_format: str, zeros: int) -> int:
    """The least bits that a layer's weights take: all of them, or a mask and those that are left."""
    weights, bits = layer.weight_count, BITS[weight_format]
    return min(weights * bits, weights + (weights - zeros) * bits) if zeros else weights * bits
