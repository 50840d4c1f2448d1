"""Whole numbers survive; what ends early is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.coding.numbers import LARGEST, Damaged, NumberReader, NumberWriter


@given(st.lists(st.integers(0, LARGEST - 1)), st.lists(st.integers(-(2**60), 2**60)), st.binary())
def test_what_is_written_is_read(whole: list[int], signed: list[int], data: bytes) -> None:
    numbers = NumberWriter()
    numbers.put_list(whole)
    numbers.put_signed(*signed)
    numbers.put_bytes(data)
    numbers.data += b"rest"
    read = NumberReader(bytes(numbers.data))
    assert read.take_list() == whole
    assert [read.signed() for _ in signed] == signed
    assert read.take_bytes() == data
    assert read.rest == b"rest"


@pytest.mark.parametrize(("number", "length"), [(0, 1), (127, 1), (128, 2), (2**14 - 1, 2), (2**14, 3)])
def test_seven_bits_to_a_byte(number: int, length: int) -> None:
    numbers = NumberWriter()
    numbers.put(number)
    assert len(numbers.data) == length


def test_what_is_no_such_number_is_refused() -> None:
    with pytest.raises(ValueError, match="got -1"):
        NumberWriter().put(-1)
    for damaged in (b"", b"\x80", b"\xff" * 12):
        with pytest.raises(Damaged):
            NumberReader(damaged).number()
    with pytest.raises(Damaged, match="expected 3 more bytes, got 1"):
        NumberReader(b"\x03a").take_bytes()
    with pytest.raises(Damaged, match="expected 9 more entries"):
        NumberReader(b"\x09a").take_list()
