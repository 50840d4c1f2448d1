"""Range coding with models that learn from what is already coded, so that no table of frequencies is stored.

The coder is constriction's (Bamler 2022, arXiv:2201.01741; Martin 1979). Its models are counts before a block of
symbols, which the decoder has as well, plus a prior. Everything is made of sums, products and quotients of floats,
which every machine computes alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from compressors.coding.symbols import Array

FIRST_BLOCK, LARGEST_BLOCK = 8, 1024
FEWEST_SHAPED = 5  # symbols, for a prior to have a shape
HIGHEST_POWER = 16


@dataclass(frozen=True)
class Prior:
    """Counts as if seen before the first symbol: `weight` times a shape over the symbols.

    power 0: flat, half a count for each symbol (Krichevsky and Trofimov 1981). Else the shape is Student's, a bell of
    width `width` / 8 around `centre`: the higher the power, the thinner its tails.
    """

    power: int = 0
    weight: int = 1
    centre: int = 0
    width: int = 8

    def __post_init__(self) -> None:
        if self.power > HIGHEST_POWER:
            raise ValueError(f"expected a power of at most {HIGHEST_POWER}, got {self.power}")

    def counts(self, size: int) -> Array:
        """(size,), every one above 0."""
        if self.power == 0:
            return np.full(size, self.weight / 2)
        far = (np.arange(size) - self.centre) * (8.0 / max(1, self.width))
        base = 1.0 / (1.0 + far * far / (2 * self.power - 1))
        shape = np.ones(size)
        for _ in range(self.power):
            shape = shape * base
        total = 0.0
        for value in shape.tolist():  # in this order on every machine
            total += value
        return shape * (self.weight / total) + 1 / 64

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        return self.power, self.weight, self.centre, self.width


def priors_for(symbols: Array, size: int) -> tuple[Prior, ...]:
    """Priors worth trying for symbols below `size`."""
    if size < FEWEST_SHAPED:
        return (Prior(),)
    centre, width = round(float(symbols.mean())), max(1, round(8 * float(symbols.std())))
    bells = ((6, width), (2, max(1, width * 3 // 4)))
    return (Prior(), *(Prior(power, weight, centre, own) for power, own in bells for weight in (12, 96, 768)))


def blocks(count: int) -> Iterator[tuple[int, int]]:
    """Where blocks begin and end: each twice as long as the one before, up to a largest length."""
    start, length = 0, FIRST_BLOCK
    while start < count:
        yield start, min(count, start + length)
        start, length = start + length, min(LARGEST_BLOCK, 2 * length)


def blocks_bits(symbols: Array, size: int, prior: Prior) -> float:
    """Bits that coding symbols (n,) below `size` block by block takes."""
    pieces = list(blocks(symbols.size))
    numbers = np.repeat(np.arange(len(pieces)), [stop - start for start, stop in pieces])
    own = np.bincount(numbers * size + symbols, minlength=len(pieces) * size).reshape(-1, size)
    seen = np.cumsum(own, axis=0) - own + prior.counts(size)
    return float(-(own * np.log2(seen / seen.sum(axis=1, keepdims=True))).sum())


def encode_blocks(encoder: Any, symbols: Array, size: int, prior: Prior) -> None:
    """Code symbols (n,); the model of a block is the counts of all blocks before it."""
    seen = prior.counts(size)
    for start, stop in blocks(symbols.size):
        block = symbols[start:stop]
        encoder.encode(block.astype(np.int32), _model(seen))
        seen = seen + np.bincount(block, minlength=size)


def decode_blocks(decoder: Any, count: int, size: int, prior: Prior) -> Array:
    """The symbols (count,) that `encode_blocks` coded."""
    seen, found = prior.counts(size), np.empty(count, np.int64)
    for start, stop in blocks(count):
        found[start:stop] = decoder.decode(_model(seen), stop - start)
        seen = seen + np.bincount(found[start:stop], minlength=size)
    return found


def _model(counts: Array) -> Any:
    import constriction

    return constriction.stream.model.Categorical(counts, perfect=False)


@dataclass
class Columns:
    """Symbols row by row, each column with counts of its own; what it has not seen it takes from all columns.

    p(symbol) = (count in the column + trust * share in all columns) / (rows + trust), with half a count for each
    symbol in the share. Pruned weights are alike in a column: the same input, the same place of a kernel.
    """

    columns: int
    size: int
    trust: float

    def __post_init__(self) -> None:
        self.own = np.zeros((self.columns, self.size))
        self.all, self.rows = np.zeros(self.size), 0

    def shares(self) -> Array:
        """(size,)"""
        return (self.all + 0.5) / (self.rows * self.columns + 0.5 * self.size)

    def weights(self) -> Array:
        """Probabilities (columns, size) times a number."""
        return self.own + self.trust * self.shares()

    def bits(self, row: Array) -> float:
        """Bits of the next row."""
        seen = self.own[np.arange(self.columns), row] + self.trust * self.shares()[row]
        return float(-np.log2(seen / (self.rows + self.trust)).sum())

    def learn(self, row: Array) -> None:
        self.own[np.arange(self.columns), row] += 1
        self.all += np.bincount(row, minlength=self.size)
        self.rows += 1


def columns_bits(symbols: Array, size: int, trust: float) -> float:
    """Bits that coding symbols (rows, columns) row by row takes."""
    model, total = Columns(symbols.shape[1], size, trust), 0.0
    for row in symbols:
        total += model.bits(row)
        model.learn(row)
    return total


def encode_columns(encoder: Any, symbols: Array, size: int, trust: float) -> None:
    """Code symbols (rows, columns)."""
    import constriction

    model, family = Columns(symbols.shape[1], size, trust), constriction.stream.model.Categorical(perfect=False)
    for row in symbols:
        encoder.encode(row.astype(np.int32), family, model.weights())
        model.learn(row)


def decode_columns(decoder: Any, shape: tuple[int, int], size: int, trust: float) -> Array:
    """The symbols of this shape that `encode_columns` coded."""
    import constriction

    model, family = Columns(shape[1], size, trust), constriction.stream.model.Categorical(perfect=False)
    found = np.empty(shape, np.int64)
    for row in found:
        row[:] = decoder.decode(family, model.weights())
        model.learn(row)
    return found
