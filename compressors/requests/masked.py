"""What a plan asks of single weights: how many of a layer become zero, and what ranks them. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from compressors.plan import NETWORK, CompressionPlan, is_number, whole_of
from compressors.requests.shapes import GroupShape, LayerShape

STEP = "masked"
Ranking = Literal["magnitude", "sensitivity"]
RANKINGS: tuple[Ranking, ...] = get_args(Ranking)
AMOUNTS = ("ratio", "threshold", "zeros")


@dataclass(frozen=True)
class Amount:
    """How many weights become zero: a share of them, all whose size is at most a threshold, or a number of them.

    `by` ranks them, the lowest first: by |w|, or by |w * gradient of the loss| (SNIP, Lee et al. 2019,
    arXiv:1810.02340). A threshold is one of |w|.
    """

    ratio: float | None = None
    threshold: float | None = None
    zeros: int | None = None
    by: Ranking = "magnitude"

    @classmethod
    def of(cls, decision: Any) -> Amount:
        """Out of a plan's JSON. Raises ValueError where it is not one amount, or out of its range."""
        if not isinstance(decision, Mapping) or set(decision) - {*AMOUNTS, "by"}:
            raise ValueError(f"mask: expected one of {', '.join(AMOUNTS)}, and `by`, got {decision!r}")
        given = [name for name in AMOUNTS if decision.get(name) is not None]
        if len(given) != 1:
            raise ValueError(f"mask: expected one of {', '.join(AMOUNTS)}, got {' and '.join(given) or 'none'}")
        amount = cls(**decision)
        amount._check()
        return amount

    def _check(self) -> None:
        if self.ratio is not None and not (is_number(self.ratio) and 0 <= self.ratio < 1):
            raise ValueError(f"mask.ratio: expected a number of at least 0 and below 1, got {self.ratio!r}")
        if self.threshold is not None and not (is_number(self.threshold) and 0 <= self.threshold < float("inf")):
            raise ValueError(f"mask.threshold: expected a number of at least 0, got {self.threshold!r}")
        if self.zeros is not None and not (is_number(self.zeros) and isinstance(self.zeros, int) and self.zeros >= 0):
            raise ValueError(f"mask.zeros: expected an integer of at least 0, got {self.zeros!r}")
        if self.by not in RANKINGS:
            raise ValueError(f"mask.by: expected one of {', '.join(RANKINGS)}, got {self.by!r}")
        if self.threshold is not None and self.by != "magnitude":
            raise ValueError(f"mask.by: expected magnitude beside a threshold, which is one of |w|, got {self.by}")

    @property
    def is_counted(self) -> bool:
        """Whether the number of zeros follows from the number of weights alone."""
        return self.threshold is None

    def zeros_of(self, weights: int) -> int:
        """The number of zeros among so many weights, of which at least one stays.

        Raises ValueError for a threshold, which needs the weights themselves.
        """
        if self.threshold is not None:
            raise ValueError("mask: how many weights are at most a threshold depends on the weights")
        wanted = self.zeros if self.zeros is not None else round((self.ratio or 0.0) * weights)
        return min(wanted, weights - 1)

    def to_json(self) -> dict[str, Any]:
        """As a plan holds it: what is at its default is left out."""
        given = {name: getattr(self, name) for name in AMOUNTS if getattr(self, name) is not None}
        return given if self.by == "magnitude" else {**given, "by": self.by}


@dataclass(frozen=True)
class Mask:
    """Layer -> how many of its weights become zero; under NETWORK alone: how many of all together."""

    amounts: Mapping[str, Amount]

    @property
    def is_global(self) -> bool:
        return NETWORK in self.amounts

    def amount_of(self, layer: str) -> Amount | None:
        """What is asked of a layer, as of all; a factor of a layer has that layer's amount."""
        return self.amounts.get(NETWORK) or self.amounts.get(layer) or self.amounts.get(whole_of(layer))


def asked(plan: CompressionPlan) -> Mask | None:
    """What a plan asks for. Raises ValueError for what is no amount, and for a budget beside amounts of layers."""
    decisions = plan.steps.get(STEP)
    if not decisions:
        return None
    amounts = {name: _named(name, decision) for name, decision in decisions.items()}
    if NETWORK in amounts and len(amounts) > 1:
        raise ValueError(f"mask: expected {NETWORK} alone, got {', '.join(amounts)}")
    return Mask(amounts)


def _named(name: str, decision: Any) -> Amount:
    try:
        return Amount.of(decision)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def depends(record: Mask) -> bool:
    """Whether the number of zeros of some layer depends on weights."""
    return record.is_global or not all(amount.is_counted for amount in record.amounts.values())


def written(plan: CompressionPlan, record: Mask) -> CompressionPlan:
    """The plan with this record in the place of what it asks for."""
    return plan.with_step(STEP, {name: amount.to_json() for name, amount in record.amounts.items()})


def least(plan: CompressionPlan, _: Sequence[GroupShape], layers: Sequence[LayerShape]) -> CompressionPlan:
    """The plan in which every layer has as many zeros as whatever is asked of it may come down to.

    As shares of the layer's weights: a layer whose inputs are fewer by then has no larger a share.
    """
    record = asked(plan)
    if record is None:
        return plan
    given = [
        (layer, amount)
        for layer in layers
        if (amount := record.amount_of(layer.name)) is not None and not is_norm(layer)
    ]
    return written(plan, Mask({layer.name: _most(amount, layer, record.is_global) for layer, amount in given}))


def _most(amount: Amount, layer: LayerShape, shares_budget: bool) -> Amount:
    weights = layer.weight_count
    if amount.threshold is not None:
        return Amount(ratio=1 - 1 / weights)
    return Amount(ratio=most_zeros(weights, layer.out_channels) / weights) if shares_budget else amount


def is_norm(layer: LayerShape) -> bool:
    """Whether a layer is a batch norm without a convolution, which is one of one weight per channel once it is folded:
    before that there is no weight to mask.
    """
    return layer.kind == "depthwise" and layer.weight_count == layer.out_channels


def most_zeros(weights: int, channels: int) -> int:
    """How many of a layer's weights a shared budget may take: one per output channel is left, so that none dies."""
    return max(0, weights - channels)
