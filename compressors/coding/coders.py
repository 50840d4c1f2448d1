"""The table of coders of symbols, and which of them makes a piece smallest.

A new coder is a row of CODERS; its place in the table is what a coded file stores, so rows are only ever added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from compressors.coding import adaptive, huffman, neighbours
from compressors.coding.numbers import Damaged, NumberReader, NumberWriter
from compressors.coding.symbols import Array, bits_needed, pack_bits, unpack_bits

MOST_SYMBOLS = 256  # of a piece's alphabet
MOST_COUNTS = 2**18  # counts of columns: more would take a coder seconds
HEAD = 4  # bytes before a piece: its coder, smallest symbol, their number, the number of figures
TRUSTS = (1, 4, 16)  # of a column in all columns, in counts
Figures = tuple[int, ...]


class Sink:
    """Where coders write: bytes of their own, and one range coder for all pieces that share its end."""

    def __init__(self) -> None:
        import constriction

        self.plain, self.ranged = NumberWriter(), constriction.stream.queue.RangeEncoder()

    def range_coded(self) -> bytes:
        """What the range coder wrote: the highest byte of each word first, without the zeros at the end."""
        return self.ranged.get_compressed().astype(">u4").tobytes().rstrip(b"\0")  # type: ignore[no-any-return]


class Source:
    """Where coders read what they wrote into a Sink."""

    def __init__(self, plain: NumberReader, range_coded: bytes) -> None:
        import constriction

        words = np.frombuffer(range_coded + bytes(-len(range_coded) % 4), ">u4").astype(np.uint32)
        self.plain, self.ranged = plain, constriction.stream.queue.RangeDecoder(words)


@dataclass(frozen=True)
class Coder:
    """A way to write symbols (rows, columns) from 0 to size - 1.

    offers: symbols, size -> the ways to do it: bits, about, and the figures that reading needs.
    write: sink, symbols, size, figures. read: source, shape, size, figures -> symbols; both may use the sink's and the
    source's bytes as well.
    """

    name: str
    offers: Callable[[Array, int], Iterator[tuple[float, Figures]]]
    write: Callable[[Sink, Array, int, Figures], None]
    read: Callable[[Source, tuple[int, int], int, Figures], Array]


def _constant(symbols: Array, size: int) -> Iterator[tuple[float, Figures]]:
    if size == 1:
        yield 0.0, ()


def _plain(symbols: Array, size: int) -> Iterator[tuple[float, Figures]]:
    yield 8.0 * ((symbols.size * bits_needed(size) + 7) // 8), ()


def _write_plain(sink: Sink, symbols: Array, size: int, _: Figures) -> None:
    sink.plain.data += pack_bits(symbols.reshape(-1), bits_needed(size))


def _read_plain(source: Source, shape: tuple[int, int], size: int, _: Figures) -> Array:
    bits, count = bits_needed(size), shape[0] * shape[1]
    return unpack_bits(source.plain.take((count * bits + 7) // 8), bits, count).reshape(shape)


def _huffman(symbols: Array, size: int) -> Iterator[tuple[float, Figures]]:
    """With the lengths of the codes as figures."""
    counts = np.bincount(symbols.reshape(-1), minlength=size)
    try:
        lengths = huffman.code_lengths(counts.tolist())
    except ValueError:
        return
    yield float(counts @ np.asarray(lengths)), tuple(lengths)


def _write_huffman(sink: Sink, symbols: Array, size: int, lengths: Figures) -> None:
    sink.plain.put_bytes(huffman.encode(symbols.reshape(-1), lengths))


def _read_huffman(source: Source, shape: tuple[int, int], size: int, lengths: Figures) -> Array:
    if len(lengths) != size:
        raise Damaged(f"expected {size} lengths of Huffman codes, got {len(lengths)}")
    return huffman.decode(source.plain.take_bytes(), lengths, shape[0] * shape[1]).reshape(shape)


def _blocks(symbols: Array, size: int) -> Iterator[tuple[float, Figures]]:
    flat = symbols.reshape(-1)
    for prior in adaptive.priors_for(flat, size):
        figures = prior.numbers if prior.power else ()
        yield adaptive.blocks_bits(flat, size, prior), figures


def _write_blocks(sink: Sink, symbols: Array, size: int, figures: Figures) -> None:
    adaptive.encode_blocks(sink.ranged, symbols.reshape(-1), size, adaptive.Prior(*figures))


def _read_blocks(source: Source, shape: tuple[int, int], size: int, figures: Figures) -> Array:
    prior = adaptive.Prior(*figures)
    return adaptive.decode_blocks(source.ranged, shape[0] * shape[1], size, prior).reshape(shape)


def _columns(symbols: Array, size: int) -> Iterator[tuple[float, Figures]]:
    if min(symbols.shape) > 1 and symbols.shape[1] * size <= MOST_COUNTS:
        yield from ((adaptive.columns_bits(symbols, size, trust), (trust,)) for trust in TRUSTS)


def _write_columns(sink: Sink, symbols: Array, size: int, figures: Figures) -> None:
    adaptive.encode_columns(sink.ranged, symbols, size, *figures)


def _read_columns(source: Source, shape: tuple[int, int], size: int, figures: Figures) -> Array:
    if shape[1] * size > MOST_COUNTS:
        raise Damaged(f"{shape[1]} columns of {size} symbols are too many")
    return adaptive.decode_columns(source.ranged, shape, size, *figures)


def _rows(symbols: Array, size: int) -> Iterator[tuple[float, Figures]]:
    return _columns(symbols.T, size)


def _write_rows(sink: Sink, symbols: Array, size: int, figures: Figures) -> None:
    _write_columns(sink, symbols.T, size, figures)


def _read_rows(source: Source, shape: tuple[int, int], size: int, figures: Figures) -> Array:
    return _read_columns(source, (shape[1], shape[0]), size, figures).T


def _neighbours(symbols: Array, size: int) -> Iterator[tuple[float, Figures]]:
    for context in neighbours.contexts_for(symbols, size):
        yield neighbours.bits(symbols, size, context), context.numbers


def _write_neighbours(sink: Sink, symbols: Array, size: int, figures: Figures) -> None:
    neighbours.encode(sink.ranged, symbols, size, neighbours.Context(*figures))


def _read_neighbours(source: Source, shape: tuple[int, int], size: int, figures: Figures) -> Array:
    context = neighbours.Context(*figures)
    if context.places > neighbours.MOST_PLACES or size ** (context.places + 1) > neighbours.LARGEST_TABLE:
        raise Damaged(f"a context of {context.places} places for {size} symbols is too large")
    return neighbours.decode(source.ranged, shape, size, context)


CODERS: tuple[Coder, ...] = (
    Coder("constant", _constant, lambda *_: None, lambda _, shape, *__: np.zeros(shape, np.int64)),
    Coder("plain", _plain, _write_plain, _read_plain),
    Coder("huffman", _huffman, _write_huffman, _read_huffman),
    Coder("range", _blocks, _write_blocks, _read_blocks),
    Coder("range by column", _columns, _write_columns, _read_columns),
    Coder("range by row", _rows, _write_rows, _read_rows),
    Coder("range by neighbours", _neighbours, _write_neighbours, _read_neighbours),
)


@dataclass(frozen=True)
class Coding:
    """How a piece is written: a row of CODERS, the smallest symbol, how many there may be, and the coder's figures."""

    coder: int
    low: int
    size: int
    figures: Figures
    bits: float

    @property
    def name(self) -> str:
        return CODERS[self.coder].name


def best_coding(values: Array, coders: tuple[str, ...] | None = None) -> Coding:
    """The coding of least bits of values (rows, columns), one at least; only by the coders named, where any are.

    Raises ValueError where the values span more than MOST_SYMBOLS.
    """
    low, high = int(values.min()), int(values.max())
    if (size := high - low + 1) > MOST_SYMBOLS:
        raise ValueError(f"expected values that span at most {MOST_SYMBOLS}, got {low} to {high}")
    symbols = values.astype(np.int64) - low
    tried = [(i, coder) for i, coder in enumerate(CODERS) if coders is None or coder.name in coders or size == 1]
    found = [
        Coding(number, low, size, figures, bits + 8 * (HEAD + len(figures)))
        for number, coder in tried
        if size > 1 or coder.name == "constant"
        for bits, figures in coder.offers(symbols, size)
    ]
    return min(found, key=lambda coding: coding.bits)


def write(sink: Sink, values: Array, coding: Coding) -> None:
    """Write values (rows, columns) as the coding says; how they are coded goes before them."""
    sink.plain.put(coding.coder)
    sink.plain.put_signed(coding.low)
    sink.plain.put(coding.size)
    sink.plain.put_list(coding.figures)
    CODERS[coding.coder].write(sink, values.astype(np.int64) - coding.low, coding.size, coding.figures)


def read(source: Source, shape: tuple[int, int]) -> Array:
    """The values of this shape that `write` wrote. Raises Damaged where there are none."""
    number, low, size = source.plain.number(), source.plain.signed(), source.plain.number()
    if number >= len(CODERS) or not 1 <= size <= MOST_SYMBOLS:
        raise Damaged(f"expected one of {len(CODERS)} coders and at most {MOST_SYMBOLS} symbols, got {number}, {size}")
    figures = tuple(source.plain.take_list())
    values: Any = CODERS[number].read(source, shape, size, figures)
    found: Array = values + low
    return found
