"""Symbols: whole numbers from 0 on in rows, as coders take them."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def bits_needed(size: int) -> int:
    """Bits that tell `size` symbols apart."""
    return max(0, size - 1).bit_length()


def pack_bits(symbols: Array, bits: int) -> bytes:
    """Symbols below 2^bits one after another, the highest bit first, filled with zeros to whole bytes."""
    shifts = np.arange(bits - 1, -1, -1)
    return np.packbits((symbols.reshape(-1, 1) >> shifts & 1).astype(np.uint8)).tobytes()


def unpack_bits(data: bytes, bits: int, count: int) -> Array:
    """The first `count` symbols that `pack_bits` wrote."""
    single = np.unpackbits(np.frombuffer(data, np.uint8))[: count * bits].reshape(count, bits).astype(np.int64)
    weights = 1 << np.arange(bits - 1, -1, -1)
    joined: Array = single @ weights if bits else np.zeros(count, np.int64)
    return joined
