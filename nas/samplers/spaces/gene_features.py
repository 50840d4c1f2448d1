"""Features of a candidate's genes, for spaces of which nothing else is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.samplers.spaces.units import Genes

Floats = NDArray[np.float64]


def gene_features(genes: Genes, rows: Floats, active: NDArray[np.bool_]) -> Floats:
    """Shape (n, columns): a column for each ordered gene, its unit from -0.5 to 0.5, and one for each choice of others.

    `rows` are candidates, (n, genes + 1), `active` says which genes they have. A gene that a candidate lacks is 0.
    """
    columns = [np.zeros((len(rows), 0))]
    for place, (unit, cells) in enumerate(zip(rows[:, :-1].T, genes.cells, strict=True)):
        if _is_scaled(genes, place):
            columns.append(unit[:, None] - 0.5)
        else:
            columns.append((np.floor(unit * cells)[:, None] == np.arange(cells)).astype(np.float64))
        columns[-1] = columns[-1] * active[:, place : place + 1]
    return np.hstack(columns)


def gene_groups(genes: Genes) -> list[str]:
    """Of each column the gene."""
    widths = [1 if _is_scaled(genes, place) else int(cells) for place, cells in enumerate(genes.cells)]
    return [name for name, width in zip(genes.names, widths, strict=True) for _ in range(width)]


def _is_scaled(genes: Genes, place: int) -> bool:
    """Whether a gene is one column: its values have an order, or there are but two of them."""
    return bool(genes.ordered[place] or genes.cells[place] <= 2)
