"""How the bytes of a stored tensor are seen as symbols, and put together again.

A new view is a row of VIEWS; its place in the table is what a coded file stores, so rows are only ever added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from compressors.coding.symbols import Array


@dataclass(frozen=True)
class View:
    """Bytes as parts of symbols.

    parts: bytes, rows, columns -> parts (rows, columns) whose values lie within 256 of each other; None where bytes
    cannot be seen so. joined: the parts, how many bytes -> the bytes. pieces: how many parts there are.
    """

    name: str
    parts: Callable[[bytes, int, int], tuple[Array, ...] | None]
    joined: Callable[[Sequence[Array], int], bytes]
    pieces: int = 1


def _numbers(dtype: str, data: bytes, rows: int, columns: int) -> tuple[Array, ...] | None:
    values = np.frombuffer(data, dtype)
    return (values.reshape(rows, columns),) if values.size == rows * columns else None


def _bytes_of(dtype: str, parts: Sequence[Array], size: int) -> bytes:
    return parts[0].astype(dtype).tobytes()


def _narrow(bits: int, signed: bool, data: bytes, rows: int, columns: int) -> tuple[Array, ...] | None:
    """Codes of 8 / k bits, the first in the lowest bits of a byte; what is left over in the last byte must be zero."""
    if len(data) != (rows * columns * bits + 7) // 8:
        return None
    shifts = np.arange(0, 8, bits)
    codes = (np.frombuffer(data, np.uint8)[:, None] >> shifts & 2**bits - 1).reshape(-1).astype(np.int64)
    if codes[rows * columns :].any():
        return None
    codes = codes[: rows * columns].reshape(rows, columns)
    return (np.where(codes >= 2 ** (bits - 1), codes - 2**bits, codes) if signed else codes,)


def _packed(bits: int, parts: Sequence[Array], size: int) -> bytes:
    per_byte = 8 // bits
    codes = np.zeros(size * per_byte, np.int64)
    codes[: parts[0].size] = parts[0].reshape(-1) & 2**bits - 1
    whole: Array = (codes.reshape(-1, per_byte) << np.arange(0, 8, bits)).sum(1)
    return whole.astype(np.uint8).tobytes()


def _single_bits(data: bytes, rows: int, columns: int) -> tuple[Array, ...] | None:
    """Bits, the first in the highest bit of a byte."""
    if len(data) != (rows * columns + 7) // 8:
        return None
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).astype(np.int64)
    return None if bits[rows * columns :].any() else (bits[: rows * columns].reshape(rows, columns),)


def _bit_bytes(parts: Sequence[Array], size: int) -> bytes:
    return np.packbits(parts[0].reshape(-1).astype(np.uint8)).tobytes()


def _planes(bits: int, data: bytes, rows: int, columns: int) -> tuple[Array, ...] | None:
    """Codes whose bits lie in planes, the lowest bit's first, in each the first code in the highest bit of a byte."""
    each = (rows * columns + 7) // 8
    if len(data) != bits * each:
        return None
    planes = np.unpackbits(np.frombuffer(data, np.uint8).reshape(bits, each), axis=1).astype(np.int64)
    if planes[:, rows * columns :].any():
        return None
    codes = (planes[:, : rows * columns] << np.arange(bits)[:, None]).sum(0)
    return (codes.reshape(rows, columns),)


def _plane_bytes(bits: int, parts: Sequence[Array], size: int) -> bytes:
    codes = parts[0].reshape(-1)
    return np.packbits((codes >> np.arange(bits)[:, None] & 1).astype(np.uint8), axis=1).tobytes()


def _words(width: int, data: bytes, rows: int, columns: int) -> tuple[Array, ...] | None:
    """Each byte of a wider number by itself: in floats the last holds sign and exponent, which are alike."""
    if len(data) != width * rows * columns:
        return None
    table = np.frombuffer(data, np.uint8).reshape(rows, columns, width)
    return tuple(table[:, :, place].astype(np.int64) for place in range(width))


def _word_bytes(width: int, parts: Sequence[Array], size: int) -> bytes:
    return np.stack(parts, axis=-1).astype(np.uint8).tobytes()


VIEWS: tuple[View, ...] = (
    View("bytes", partial(_numbers, "u1"), partial(_bytes_of, "u1")),
    View("int8", partial(_numbers, "i1"), partial(_bytes_of, "i1")),
    View("4 bits, signed", partial(_narrow, 4, True), partial(_packed, 4)),
    View("4 bits", partial(_narrow, 4, False), partial(_packed, 4)),
    View("2 bits, signed", partial(_narrow, 2, True), partial(_packed, 2)),
    View("2 bits", partial(_narrow, 2, False), partial(_packed, 2)),
    View("bits", _single_bits, _bit_bytes),
    View("bits, lowest first", partial(_narrow, 1, False), partial(_packed, 1)),
    *(View(f"{bits} planes", partial(_planes, bits), partial(_plane_bytes, bits)) for bits in range(2, 8)),
    *(
        View(f"words of {width} bytes", partial(_words, width), partial(_word_bytes, width), width)
        for width in (2, 4, 8)
    ),
)
