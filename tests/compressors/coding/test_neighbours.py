"""Coding by neighbours: the way back in every arrangement, bits as they are written, and what it is good for."""

from __future__ import annotations

import constriction
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.coding import adaptive, neighbours
from compressors.coding.adaptive import Prior
from compressors.coding.coders import Source, read
from compressors.coding.neighbours import COLUMNS, ROWS, Context
from compressors.coding.numbers import Damaged, NumberReader, NumberWriter


@pytest.mark.parametrize("arranged", [ROWS, COLUMNS, 2, 7, 1000])
@pytest.mark.parametrize(("places", "lag"), [(1, 2), (2, 3), (4, 2)])
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_symbols_survive(places: int, lag: int, arranged: int, rows: int, columns: int, seed: int) -> None:
    symbols = np.random.default_rng(seed).integers(0, 3, (rows, columns))
    encoder, context = constriction.stream.queue.RangeEncoder(), Context(places, lag, arranged)
    neighbours.encode(encoder, symbols, 3, context)
    decoder = constriction.stream.queue.RangeDecoder(encoder.get_compressed())
    assert (neighbours.decode(decoder, (rows, columns), 3, context) == symbols).all()


def test_by_hand() -> None:
    """Half a count each at first; then in the context of a 1, which a 1 has followed: (1 + 2 * 2.5 / 3) / (1 + 2)."""
    symbols = np.array([[1], [1], [1]])
    first = -np.log2(0.5)
    second = -np.log2(1.5 / 2)  # nothing is known of the context of a 1, so that all symbols tell
    third = -np.log2((1 + 2 * 2.5 / 3) / 3)
    assert neighbours.bits(symbols, 2, Context(1, 2, ROWS)) == pytest.approx(first + second + third)


def pictures() -> np.ndarray:
    """Rows of 12 x 12 pixels, of spots: pixels are like those beside and above them, and rows are unlike each other."""
    noise = np.random.default_rng(0).normal(size=(80, 14, 14))
    smooth = sum(noise[:, y : y + 12, x : x + 12] for y in range(3) for x in range(3))
    return (smooth > 2).astype(int).reshape(80, 144)


def test_pixels_are_told_by_those_beside_and_above() -> None:
    symbols = pictures()
    found = list(neighbours.contexts_for(symbols, 2))
    best = min(found, key=lambda context: neighbours.bits(symbols, 2, context))
    assert (best.places, best.lag, best.arranged) == (4, 12, COLUMNS)
    alone = adaptive.blocks_bits(symbols.reshape(-1), 2, Prior())
    assert neighbours.bits(symbols, 2, best) < 0.8 * alone
    encoder = constriction.stream.queue.RangeEncoder()
    neighbours.encode(encoder, symbols, 2, best)
    assert 0 <= encoder.num_bits() - neighbours.bits(symbols, 2, best) < 64 + 0.01 * symbols.size


def test_a_long_row_is_cut_into_lanes() -> None:
    row = np.repeat(np.random.default_rng(0).integers(0, 4, 400), 3)[None]
    (way,) = {context.arranged for context in neighbours.contexts_for(row, 4)}
    assert way >= neighbours.SHORTEST_LANE
    flat = adaptive.blocks_bits(row[0], 4, Prior())
    assert min(neighbours.bits(row, 4, context) for context in neighbours.contexts_for(row, 4)) < 0.7 * flat
    assert not list(neighbours.contexts_for(row[:, :100], 4))
    assert not list(neighbours.contexts_for(pictures(), 200))  # a table of their pairs would be too large


def test_a_context_of_another_program_is_refused() -> None:
    numbers = NumberWriter()
    numbers.put(6, 0, 200)
    numbers.put_list((4, 2, ROWS, 2))
    with pytest.raises(Damaged, match="a context of 4 places for 200 symbols is too large"):
        read(Source(NumberReader(bytes(numbers.data)), b""), (2, 2))
