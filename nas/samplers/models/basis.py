"""The columns a model looks at: features and exact costs on one scale, without those that say nothing new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.samplers.spaces.decoding import Decoded, costs_of
from nas.samplers.spaces.gene_features import gene_features, gene_groups
from nas.samplers.spaces.problem import Objectives
from nas.samplers.spaces.units import Genes

Floats = NDArray[np.float64]

SAME = 1e-9  # columns whose correlation is this close to 1 say the same


@dataclass(frozen=True)
class Basis:
    """Which columns are kept, and what is usual in each, by a sample of the space.

    Where no features are given, the genes are; columns of one gene share a length in the model. Beside features genes
    are left out: an earlier version that saw both was not clearly better or worse (studies/results/README.md).
    """

    genes: Genes
    objectives: Objectives
    kept: NDArray[np.intp]
    center: Floats
    spread: Floats
    groups: NDArray[np.intp]  # of each column kept

    @classmethod
    def of(cls, sample: Sequence[Decoded], genes: Genes, objectives: Objectives) -> Basis:
        """Raises ValueError where features differ in number or are no numbers."""
        lengths = {candidate.described.shape for candidate in sample}
        if len(lengths) > 1:
            raise ValueError(f"features: expected equally many for every candidate, got shapes {sorted(lengths)}")
        columns = _columns(sample, genes, objectives)
        if not np.isfinite(columns).all():
            raise ValueError("features: expected finite numbers, got NaN or infinity")
        center, spread = columns.mean(axis=0), columns.std(axis=0)
        kept = _different((columns - center) / np.where(spread > 0, spread, 1.0), spread)
        by_gene = [] if sample[0].described.size else gene_groups(genes)
        names = [*(f"column {place}" for place in range(columns.shape[1] - len(by_gene))), *by_gene]
        _, groups, sizes = np.unique(np.array(names)[kept], return_inverse=True, return_counts=True)
        return cls(genes, objectives, kept, center[kept], spread[kept] * np.sqrt(sizes[groups]), groups)

    def features(self, candidates: Sequence[Decoded]) -> Floats:
        """Shape (n, columns kept): in the sample of mean 0, and of variance 1 in each group."""
        columns = _columns(candidates, self.genes, self.objectives)[:, self.kept]
        scaled: Floats = (columns - self.center) / self.spread
        return scaled


def _columns(candidates: Sequence[Decoded], genes: Genes, objectives: Objectives) -> Floats:
    """Features, or genes where there are none, and the exact costs on their scales."""
    described = np.array([candidate.described for candidate in candidates]).reshape(len(candidates), -1)
    means, sds = costs_of(candidates)
    exact = ~np.isnan(means).any(axis=0) & (sds == 0).all(axis=0)
    if not described.size:
        rows = np.array([candidate.row for candidate in candidates])
        active = np.array([candidate.active for candidate in candidates], dtype=np.bool_)
        described = gene_features(genes, rows, active)
    return np.column_stack([objectives.minimised(means)[:, exact], described])


def _different(scaled: Floats, spread: Floats) -> NDArray[np.intp]:
    """Columns that vary, the first of those that rise and fall together."""
    varying = np.flatnonzero(spread > SAME * np.maximum(1.0, spread.max(initial=0.0)))
    if not varying.size:
        return varying
    alike = np.abs(scaled[:, varying].T @ scaled[:, varying]) / max(1, len(scaled)) > 1 - SAME
    first = np.argmax(alike, axis=0) == np.arange(len(varying))
    kept: NDArray[np.intp] = varying[first]
    return kept
