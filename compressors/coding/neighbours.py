"""Range coding by what lies beside a symbol: weights of neighbouring inputs are alike, and zero together.

Symbols are coded row by row, all of a row at once; a context is what stands at the same place in rows before. Every
context has counts of its own, backed by those of all: p = (count + trust * share) / (all of the context + trust).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compressors.coding.symbols import Array

LONGEST_LAG = 64
LARGEST_TABLE = 2**14  # counts
MOST_PLACES = 4
SHORTEST_LANE = 32
FEWEST_ROWS = 9  # and columns, for these to be enough
ROWS, COLUMNS = 0, 1  # ways of arranging; higher numbers are lengths of lanes


@dataclass(frozen=True)
class Context:
    """Which places tell: `places` of the row before and of three `lag` rows before, by how many of these are looked at.

    arranged: ROWS, COLUMNS, or the length of the lanes that all symbols in a row are cut into.
    """

    places: int
    lag: int
    arranged: int
    trust: int = 2

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        return self.places, self.lag, self.arranged, self.trust

    @property
    def back(self) -> tuple[int, ...]:
        """How many rows before the places lie."""
        return (1, self.lag, self.lag + 1, self.lag - 1)[: self.places]


def contexts_for(symbols: Array, size: int) -> Iterator[Context]:
    """Contexts worth trying for symbols (rows, columns) below `size`."""
    ways = [ROWS, COLUMNS] if min(symbols.shape) > 1 else []
    lane = max(SHORTEST_LANE, int(2 * symbols.size**0.5))
    if symbols.size >= 4 * lane and min(symbols.shape) < FEWEST_ROWS:
        ways.append(lane)
    for way in ways:
        rows = _rows(symbols, way)
        places = [n for n in (1, 2, MOST_PLACES) if size ** (n + 1) <= LARGEST_TABLE and n < len(rows)]
        lag = _likeliest_lag(rows) if len(places) > 1 else 2
        yield from (Context(n, lag, way) for n in places)


def _likeliest_lag(rows: Sequence[Array]) -> int:
    """The distance, from 2 on, at which rows agree most."""
    whole = [row for row in rows if len(row) == len(rows[0])]
    table = np.stack(whole)
    lags = range(2, min(LONGEST_LAG, max(3, len(whole) // 2)))
    return max(lags, key=lambda lag: float((table[lag:] == table[:-lag]).mean()) if lag < len(table) else 0.0)


def _rows(symbols: Array, way: int) -> list[Array]:
    """The rows in which symbols are coded; those of lanes grow shorter where the last lane ends."""
    if way in (ROWS, COLUMNS):
        return list(symbols if way == ROWS else symbols.T)
    flat = symbols.reshape(-1)
    return [flat[step::way] for step in range(min(way, flat.size))]


def _widths(shape: tuple[int, int], way: int) -> list[int]:
    count = shape[0] * shape[1]
    if way in (ROWS, COLUMNS):
        return [shape[1 - way]] * shape[way]
    return [-(-(count - step) // way) for step in range(min(way, count))]


def _joined(rows: Sequence[Array], shape: tuple[int, int], way: int) -> Array:
    if way in (ROWS, COLUMNS):
        table = np.stack(rows)
        return table if way == ROWS else table.T
    flat = np.empty(shape[0] * shape[1], np.int64)
    for step, row in enumerate(rows):
        flat[step::way] = row
    return flat.reshape(shape)


class _Model:
    """Counts by context, and those of all."""

    def __init__(self, context: Context, size: int) -> None:
        self.context, self.size = context, size
        self.counts = np.zeros((size**context.places, size))
        self.all, self.done = np.zeros(size), list[Array]()

    def places(self, width: int) -> Array:
        """The context of every symbol of the next row."""
        index = np.zeros(width, np.int64)
        for back in self.context.back:
            before = self.done[-back][:width] if 0 < back <= len(self.done) else 0
            index = index * self.size + before
        return index

    def weights(self, index: Array) -> Array:
        """Probabilities (width, size) times a number."""
        share = (self.all + 0.5) / (self.all.sum() + 0.5 * self.size)
        weights: Array = self.counts[index] + self.context.trust * share
        return weights

    def learn(self, index: Array, row: Array) -> None:
        self.counts += np.bincount(index * self.size + row, minlength=self.counts.size).reshape(self.counts.shape)
        self.all += np.bincount(row, minlength=self.size)
        self.done.append(row)


def bits(symbols: Array, size: int, context: Context) -> float:
    """Bits that coding symbols (rows, columns) takes."""
    model, total = _Model(context, size), 0.0
    for row in _rows(symbols, context.arranged):
        index = model.places(len(row))
        weights = model.weights(index)
        total -= float(np.log2(weights[np.arange(len(row)), row] / weights.sum(1)).sum())
        model.learn(index, row)
    return total


def encode(encoder: Any, symbols: Array, size: int, context: Context) -> None:
    """Code symbols (rows, columns)."""
    import constriction

    model, family = _Model(context, size), constriction.stream.model.Categorical(perfect=False)
    for row in _rows(symbols, context.arranged):
        index = model.places(len(row))
        encoder.encode(row.astype(np.int32), family, model.weights(index))
        model.learn(index, row)


def decode(decoder: Any, shape: tuple[int, int], size: int, context: Context) -> Array:
    """The symbols of this shape that `encode` coded."""
    import constriction

    model, family = _Model(context, size), constriction.stream.model.Categorical(perfect=False)
    for width in _widths(shape, context.arranged):
        index = model.places(width)
        model.learn(index, decoder.decode(family, model.weights(index)).astype(np.int64))
    return _joined(model.done, shape, context.arranged)
