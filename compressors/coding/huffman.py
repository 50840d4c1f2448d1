"""Canonical Huffman codes (Huffman 1952; of quantized weights: Han et al. 2016, Deep Compression, arXiv:1510.00149).

A canonical code is known by its lengths alone: codes of one length are consecutive numbers in the order of symbols.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from compressors.coding.numbers import Damaged
from compressors.coding.symbols import Array

Tree = tuple[int, int, tuple[int, ...]]  # how often its symbols occur, the first of them, all of them
LONGEST = 24  # bits of a code; a symbol this rare is met once in a file of 16 million


def code_lengths(counts: Sequence[int]) -> list[int]:
    """Bits of each symbol's code, of least total; 0 for a symbol that never occurs, 1 where only one does.

    Raises ValueError where a code would be longer than LONGEST.
    """
    heap: list[tuple[int, int, tuple[int, ...]]] = [
        (count, symbol, (symbol,)) for symbol, count in enumerate(counts) if count
    ]
    lengths = [0] * len(counts)
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        (few, first, left), (more, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in left + right:
            lengths[symbol] += 1
        heapq.heappush(heap, (few + more, first, left + right))
    if max(lengths, default=0) > LONGEST:
        raise ValueError(f"expected codes of at most {LONGEST} bits, got {max(lengths)}")
    return lengths


def canonical_codes(lengths: Sequence[int]) -> list[int]:
    """The codes of these lengths, each after the one before in the order of (length, symbol); 0 for no code."""
    codes, code, before = [0] * len(lengths), 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length):
        code <<= length - before
        codes[symbol], code, before = code, code + 1, length
    return codes


def encode(symbols: Array, lengths: Sequence[int]) -> bytes:
    """The codes of symbols (n,) one after another, the highest bit first, filled with zeros to whole bytes."""
    sizes = np.asarray(lengths, np.int64)[symbols]
    codes = np.asarray(canonical_codes(lengths), np.int64)[symbols]
    ends = np.cumsum(sizes)
    within = np.arange(ends[-1] if ends.size else 0) - np.repeat(ends - sizes, sizes)  # bits since the code's first
    bits = np.repeat(codes, sizes) >> (np.repeat(sizes, sizes) - 1 - within) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def decode(data: bytes, lengths: Sequence[int], count: int) -> Array:
    """The `count` symbols that `encode` wrote. Raises Damaged where the bytes are no such codes."""
    by_code = {(length, code): symbol for symbol, (length, code) in enumerate(_pairs(lengths)) if length}
    bits = iter(np.unpackbits(np.frombuffer(data, np.uint8)).tolist())
    found = np.empty(count, np.int64)
    for position in range(count):
        code = length = 0
        while (symbol := by_code.get((length, code))) is None:
            bit = next(bits, None)
            if bit is None or length > LONGEST:
                raise Damaged("its Huffman codes end early")
            code, length = code << 1 | bit, length + 1
        found[position] = symbol
    return found


def _pairs(lengths: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(lengths, canonical_codes(lengths), strict=True))
