"""The stages of a training: how its steps are shared out, and the learning rate in each."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

from nas.study import Recipe
from nas.training.optimization import rate_factor

StageName = Literal["dense", "pruned", "quantized"]
# Peak learning rate of a phase as a fraction of the dense one. Without batch norm, which is folded by then,
# quantization-aware training bears no more.
PEAK = {"dense": 1.0, "pruned": 0.5, "quantized": 0.1}


@dataclass(frozen=True)
class Stage:
    """A part of the training: what has been done to the network when it begins, its steps, and where in the whole it
    lies, from `start` to `stop`.
    """

    name: StageName
    steps: int
    start: float = 0.0
    stop: float = 1.0


def stages_of(training: Recipe, steps: int, *, prunes: bool, quantizes: bool) -> tuple[Stage, ...]:
    """Split the steps of a whole training by the study's shares, so that a short one has every phase of a long one.

    A phase that changes nothing gives its share to the one before.
    """
    dense, pruned, quantized = (training.shares.get(name, 0.0) for name in PEAK)
    if not quantizes:
        pruned, quantized = pruned + quantized, 0.0
    if not prunes:
        dense, pruned = dense + pruned, 0.0
    active = [("dense", dense, True), ("pruned", pruned, prunes), ("quantized", quantized, quantizes)]
    counts = _largest_remainder([share for _, share, _ in active], steps)
    ends = [end / steps for end in itertools.accumulate(counts)]
    return tuple(
        Stage(name, count, start, stop)  # type: ignore[arg-type]
        for (name, _, happens), count, start, stop in zip(active, counts, [0.0, *ends], ends, strict=False)
        if happens
    )


def _largest_remainder(shares: list[float], total: int) -> list[int]:
    exact = [share * total for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: counts[i] - exact[i])
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts


def learning_rate(training: Recipe, phase: Stage, progress: float) -> float:
    """The rate at `progress` in [0, 1) of a phase."""
    if training.cycle == "stage":
        return training.peak_learning_rate * PEAK[phase.name] * rate_factor(training, progress)
    factor = rate_factor(training, phase.start + progress * (phase.stop - phase.start))
    return training.peak_learning_rate * (min(factor, PEAK["quantized"]) if phase.name == "quantized" else factor)
