"""The columns a model looks at: features and exact costs on one scale, without those that say nothing new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.samplers.decoding import Decoded, costs_of
from nas.samplers.problem import Objectives

Floats = NDArray[np.float64]

SAME = 1e-9  # columns whose correlation is this close to 1 say the same


@dataclass(frozen=True)
class Basis:
    """Which columns are kept, and what is usual in each, by a sample of the space."""

    objectives: Objectives
    kept: NDArray[np.intp]
    center: Floats
    spread: Floats

    @classmethod
    def of(cls, sample: Sequence[Decoded], objectives: Objectives) -> Basis:
        """Raises ValueError where features differ in number or are no numbers."""
        lengths = {candidate.described.shape for candidate in sample}
        if len(lengths) > 1:
            raise ValueError(f"features: expected equally many for every candidate, got shapes {sorted(lengths)}")
        columns = _columns(sample, objectives)
        if not np.isfinite(columns).all():
            raise ValueError("features: expected finite numbers, got NaN or infinity")
        center, spread = columns.mean(axis=0), columns.std(axis=0)
        kept = _different((columns - center) / np.where(spread > 0, spread, 1.0), spread)
        return cls(objectives, kept, center[kept], spread[kept])

    def features(self, candidates: Sequence[Decoded]) -> Floats:
        """Shape (n, columns kept), of mean 0 and standard deviation 1 in the sample."""
        columns = _columns(candidates, self.objectives)[:, self.kept]
        scaled: Floats = (columns - self.center) / self.spread
        return scaled


def _columns(candidates: Sequence[Decoded], objectives: Objectives) -> Floats:
    """Features, then the exact costs on their scales."""
    described = np.array([candidate.described for candidate in candidates])
    means, sds = costs_of(candidates)
    exact = ~np.isnan(means).any(axis=0) & (sds == 0).all(axis=0)
    return np.column_stack([described.reshape(len(candidates), -1), objectives.minimised(means)[:, exact]])


def _different(scaled: Floats, spread: Floats) -> NDArray[np.intp]:
    """Columns that vary, the first of those that rise and fall together."""
    varying = np.flatnonzero(spread > SAME * np.maximum(1.0, spread.max(initial=0.0)))
    alike = np.abs(scaled[:, varying].T @ scaled[:, varying]) / max(1, len(scaled)) > 1 - SAME
    first = np.argmax(alike, axis=0) == np.arange(len(varying))
    kept: NDArray[np.intp] = varying[first]
    return kept
