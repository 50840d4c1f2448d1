"""Whole numbers in a stream of bytes: seven bits to a byte, the lowest first."""

from __future__ import annotations

from collections.abc import Iterable

LARGEST = 2**63


class Damaged(ValueError):
    """Coded bytes that no coder here has written; the message says what is wrong with them."""


class NumberWriter:
    """Whole numbers, written one after another."""

    def __init__(self) -> None:
        self.data = bytearray()

    def put(self, *values: int) -> None:
        for value in values:
            if not 0 <= value < LARGEST:
                raise ValueError(f"expected a number from 0 to 2^63 - 1, got {value}")
            while value >= 0x80:
                self.data.append(value & 0x7F | 0x80)
                value >>= 7
            self.data.append(value)

    def put_signed(self, *values: int) -> None:
        """Numbers of either sign, small ones in few bytes."""
        self.put(*(2 * value if value >= 0 else -2 * value - 1 for value in values))

    def put_list(self, values: Iterable[int]) -> None:
        """Numbers, their count before them."""
        listed = list(values)
        self.put(len(listed), *listed)

    def put_bytes(self, data: bytes) -> None:
        """Bytes, their count before them."""
        self.put(len(data))
        self.data += data


class NumberReader:
    """Reads what `NumberWriter` wrote. Raises Damaged where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self._data) - self._at:
            raise Damaged(f"it ends early: expected {count} more bytes, got {len(self._data) - self._at}")
        self._at += count
        return self._data[self._at - count : self._at]

    def take_list(self) -> list[int]:
        return [self.number() for _ in range(self.count())]

    def take_bytes(self) -> bytes:
        return self.take(self.number())

    def number(self) -> int:
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise Damaged("a number in it is longer than 63 bits")

    def signed(self) -> int:
        value = self.number()
        return value // 2 if value % 2 == 0 else -(value + 1) // 2

    def count(self) -> int:
        """A number of things that are still to be read: each takes a byte at least."""
        value = self.number()
        if value > len(self._data) - self._at:
            raise Damaged(f"it ends early: expected {value} more entries, got {len(self._data) - self._at} bytes")
        return value

    @property
    def rest(self) -> bytes:
        return self._data[self._at :]
