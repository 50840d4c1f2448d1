"""How far the answers of a compressed network lie from those it gave before. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Distance:
    """Between the logits of two networks on the same images, means over these.

    kl: Kullback-Leibler divergence of the later probabilities from the earlier ones, in nats. mse: mean squared
    difference of logits. agreement: share of images with the same answer.
    """

    kl: float
    mse: float
    agreement: float
    images: int


def distance(before: Array, after: Array) -> Distance:
    """The distance of two arrays of logits (N, classes). Raises ValueError where their shapes differ."""
    if before.shape != after.shape or before.ndim != 2 or not len(before):
        raise ValueError(f"logits: expected two arrays of one shape (N, classes), got {before.shape} and {after.shape}")
    first, second = (log_softmax(logits.astype(np.float64)) for logits in (before, after))
    difference = before.astype(np.float64) - after.astype(np.float64)
    return Distance(
        kl=max(0.0, float((np.exp(first) * (first - second)).sum(1).mean())),  # rounding may leave less than none
        mse=float((difference**2).mean()),
        agreement=float((before.argmax(1) == after.argmax(1)).mean()),
        images=len(before),
    )


def log_softmax(logits: Array) -> Array:
    """Logarithms of probabilities (N, classes)."""
    shifted = logits - logits.max(1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return found
