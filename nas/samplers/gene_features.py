"""Features of a candidate's genes, for spaces of which nothing else is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.samplers.units import Genes

Floats = NDArray[np.float64]


def gene_features(genes: Genes, row: Floats, active: NDArray[np.bool_]) -> Floats:
    """One column for each ordered gene, its unit from -0.5 to 0.5; one for each choice of another, 1 where it is taken.

    A gene that the candidate lacks is 0 everywhere. Choices are scaled so that two different ones are 1 apart.
    """
    columns: list[Floats] = []
    for place, (unit, cells) in enumerate(zip(row[:-1], genes.cells, strict=True)):
        if genes.ordered[place] or cells <= 2:
            columns.append(np.array([unit - 0.5]) * active[place])
        else:
            taken = np.arange(cells) == int(unit * cells)
            columns.append(taken * active[place] / np.sqrt(2.0))
    return np.concatenate([*columns, np.zeros(0)])
