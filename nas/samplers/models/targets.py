"""What a process learns of an objective: its values on a scale where they are nearly normal, with what was believed of
them before, and the scores that trials had before their end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_PAIRS = 4  # trials that have both, a rung's score and the end's, before the rung is believed
PULL = 4.0  # how many pairs the belief in a slope of 1 is worth


@dataclass(frozen=True)
class Transform:
    """From units of the box to a process's targets: log(x + offset), or x as it is where `offset` is None.

    Beyond the reference point nothing counts, and all is the same there.
    """

    offset: float | None

    def __call__(self, scaled: Floats) -> Floats:
        inside = np.minimum(scaled, 1.0)
        if self.offset is None:
            return inside
        targets: Floats = np.log(np.maximum(inside, 0.0) + self.offset)
        return targets

    def back(self, targets: Floats) -> Floats:
        scaled: Floats = targets if self.offset is None else np.exp(targets) - self.offset
        return scaled


@dataclass(frozen=True)
class Line:
    """A straight line by least squares, and the variance of what it leaves."""

    slope: float
    at: float
    level: float
    variance: float

    @classmethod
    def through(cls, x: Floats, y: Floats) -> Line:
        """A line of slope 1 unless the pairs say otherwise: PULL further pairs lie on one."""
        dx, dy = x - x.mean(), y - y.mean()
        pull = PULL * max(float(dx @ dx) / len(x), 1e-12)
        slope = float(dx @ dy + pull) / float(dx @ dx + pull)
        left = dy - slope * dx
        variance = float(left @ left) / max(1, len(x) - 1) * (1 + 1 / len(x))
        return cls(slope, float(x.mean()), float(y.mean()), variance)

    def __call__(self, x: Floats) -> Floats:
        y: Floats = self.level + self.slope * (x - self.at)
        return y


def calibrated_prior(prior: Floats, told: Floats, targets: Floats) -> Floats:
    """Prior means (n,), all on the targets' scale, as what the told ones, (k,), say they are worth; 0 without any.

    A prior from other data or shorter trainings ranks candidates rather than knowing their values: its slope is
    learned. NaN, where nothing was believed, becomes the usual.
    """
    if np.isnan(prior).all():
        return np.zeros(len(prior))
    filled = np.where(np.isnan(prior), np.nanmean(prior), prior)
    known = ~np.isnan(told)
    if known.sum() < 2:
        return filled
    return Line.through(told[known], targets[known])(filled)


def rung_lines(pairs: Sequence[tuple[float, float, float]]) -> dict[float, Line]:
    """How the end follows from a rung's score, for rungs with enough (share, score, end), all as targets."""
    shares = sorted({share for share, _, _ in pairs})
    lines = {}
    for share in shares:
        scores, ends = np.array([(score, end) for at, score, end in pairs if at == share]).T
        if len(scores) >= LEAST_PAIRS:
            lines[share] = Line.through(scores, ends)
    return lines
