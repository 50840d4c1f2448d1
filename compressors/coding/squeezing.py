"""What is no tensor, as a general coder of the standard library makes it smallest."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable

from compressors.coding.numbers import Damaged

_LZMA = ({"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "lc": 3, "lp": 0, "pb": 0},)


def squeezed(data: bytes) -> bytes:
    """Bytes as a general coder makes them smallest, after the number of the coder."""
    ways = (data, _deflate(data), lzma.compress(data, lzma.FORMAT_RAW, filters=_LZMA))
    number = min(range(len(ways)), key=lambda i: len(ways[i]))
    return bytes([number]) + ways[number]


def unsqueezed(data: bytes, most: int = 2**31) -> bytes:
    """What `squeezed` was given, which is no longer than `most`. Raises Damaged."""
    number, body = data[:1], data[1:]
    ways: dict[bytes, Callable[[], bytes]] = {
        b"\0": lambda: body,
        b"\1": lambda: zlib.decompressobj(-15).decompress(body, most),
        b"\2": lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_LZMA).decompress(body, most),
    }
    if number not in ways:
        raise Damaged("a section of it is in no known form")
    return ways[number]()


def _deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    return coder.compress(data) + coder.flush()
