"""The genes of a space, and candidates as rows of units: a matrix of shape (n, genes + 1), the last column a salt.

Every gene has a unit in every row, asked for or not: a child that has a block its parent lacks finds genes for it. The
salt answers for genes that were not known when the matrix was laid out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.samplers.spaces.recording import BELOW_ONE, Params, Question, UnitTrial, cells_of, is_ordered, unit_of

Floats = NDArray[np.float64]
Space = Callable[[Any], Any]

SCANNED = 100  # random draws among which genes are looked for
STREAM = 0x5C4  # keeps these draws apart from others with the same seed


@dataclass(frozen=True)
class Genes:
    """Genes by name, in the order they were first asked in, and what was asked."""

    questions: Mapping[str, Question]

    @cached_property
    def names(self) -> list[str]:
        return list(self.questions)

    @cached_property
    def cells(self) -> NDArray[np.int64]:
        """Per gene the number of its values; 0 where it has no cells of equal width."""
        return np.array([cells_of(question) for question in self.questions.values()], dtype=np.int64)

    @cached_property
    def ordered(self) -> NDArray[np.bool_]:
        """Per gene whether neighbouring units are neighbouring values."""
        return np.array([is_ordered(question) for question in self.questions.values()], dtype=np.bool_)

    @property
    def width(self) -> int:
        """Columns of a row."""
        return len(self.questions) + 1

    def snapped(self, rows: Floats) -> Floats:
        """Rows with every unit in the middle of its cell, so that rows are equal where all their genes are."""
        inner = np.clip(rows[:, :-1], 0.0, BELOW_ONE)
        count = np.maximum(self.cells, 1)
        middle = (np.floor(inner * count) + 0.5) / count
        return np.column_stack([np.where(self.cells > 0, middle, inner), rows[:, -1]])

    def units(self, row: Floats) -> dict[str, float]:
        """A row by name, without its salt."""
        return dict(zip(self.names, row.tolist(), strict=False))

    def row_of(self, params: Params, fill: Floats) -> Floats:
        """The row that has these parameters; `fill`, a row too, has the units of genes that are not among them."""
        row = fill.copy()
        for place, (name, question) in enumerate(self.questions.items()):
            if name in params:
                row[place] = unit_of(question, params[name])
        return row


def scan(space: Space, seed: int) -> Genes:
    """The genes that a hundred random draws ask for."""
    random = np.random.default_rng([seed, STREAM])
    found: dict[str, Question] = {}
    for salt in random.random(SCANNED):
        trial = UnitTrial({}, salt=float(salt))
        space(trial)
        for name, question in trial.questions.items():
            found.setdefault(name, question)
    return Genes(found)
