"""Interactions between genes that the features of a joint space do not know, and which layers are sensitive."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

LAYERS_OF_ALL = (4, 3, 3)  # stages, blocks, layers
HIDDEN = 64
PAIRS = 160


class SmoothNetwork:
    """A random network of one hidden layer on the one-hot choices: every gene meets every other, smoothly."""

    def __init__(self, choices: Mapping[str, int]) -> None:
        random = np.random.default_rng(7)
        ends = np.cumsum(list(choices.values()))
        self._first = dict(zip(choices, [0, *ends[:-1].tolist()], strict=True))
        self._inner = random.normal(size=(int(ends[-1]), HIDDEN)) / len(choices) ** 0.5 * 1.6
        self._bias = random.normal(size=HIDDEN)
        self._outer = random.normal(size=HIDDEN) / 8
        self.sensitivity = np.exp(random.normal(0, 0.5, size=LAYERS_OF_ALL))

    def __call__(self, chosen: Mapping[str, int]) -> float:
        rows = [self._first[gene] + index for gene, index in chosen.items()]
        return float(np.tanh(self._inner[rows].sum(axis=0) + self._bias) @ self._outer)


class PairTables:
    """A table of its own for each of some pairs of genes: what one choice is worth depends, abruptly, on another.

    Half of the pairs lie within a block or between its neighbours', half anywhere.
    """

    def __init__(self, choices: Mapping[str, int]) -> None:
        random = np.random.default_rng(11)
        names = list(choices)
        self._tables: dict[tuple[str, str], NDArray[np.float64]] = {}
        while len(self._tables) < PAIRS:
            first = int(random.integers(len(names)))
            near = len(self._tables) % 2 == 0
            reach = random.integers(1, 9) if near else random.integers(1, len(names))
            pair = names[first], names[(first + int(reach)) % len(names)]
            self._tables[pair] = random.normal(0, 0.12, size=(choices[pair[0]], choices[pair[1]]))
        self.sensitivity = np.exp(random.normal(0, 0.8, size=LAYERS_OF_ALL))

    def __call__(self, chosen: Mapping[str, int]) -> float:
        return float(
            sum(
                table[chosen[first], chosen[second]]
                for (first, second), table in self._tables.items()
                if first in chosen and second in chosen
            )
        )
