"""One suite over all views: bytes that are seen as symbols are given back, and other bytes are not seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.coding.views import VIEWS, View

BY_NAME = {view.name: view for view in VIEWS}


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
@given(st.binary(min_size=1, max_size=64), st.integers(1, 128))
def test_what_is_seen_is_given_back(view: View, data: bytes, columns: int) -> None:
    for rows in (1, 2, 3):
        parts = view.parts(data, rows, columns)
        if parts is not None:
            assert len(parts) == view.pieces
            assert all(part.shape == (rows, columns) for part in parts)
            assert view.joined(parts, len(data)) == data


@pytest.mark.parametrize(
    ("name", "data", "symbols"),
    [
        ("4 bits, signed", b"\x81\x07", [1, -8, 7]),
        ("4 bits", b"\x81\x07", [1, 8, 7]),
        ("2 bits, signed", b"\b\x01", [0, -2, 0, 0, 1]),
        ("bits", b"\x81\x80", [1, 0, 0, 0, 0, 0, 0, 1, 1]),
        ("bits, lowest first", b"\x81\x01", [1, 0, 0, 0, 0, 0, 0, 1, 1]),
        ("3 planes", b"\x80\x40\xc0", [5, 6]),
        ("int8", b"\x80\x7f\xff", [-128, 127, -1]),
    ],
)
def test_by_hand(name: str, data: bytes, symbols: list[int]) -> None:
    parts = BY_NAME[name].parts(data, 1, len(symbols))
    assert parts is not None
    assert parts[0].tolist() == [symbols]


def test_words() -> None:
    values = np.array([[1.0, -2.5], [3e-9, 0.0]], "<f4")
    parts = BY_NAME["words of 4 bytes"].parts(values.tobytes(), 2, 2)
    assert parts is not None
    assert parts[3].tolist() == [[0x3F, 0xC0], [0x31, 0x00]]


@pytest.mark.parametrize("name", ["4 bits", "2 bits", "bits", "bits, lowest first", "3 planes"])
def test_bits_left_over_that_are_not_zero_are_not_lost(name: str) -> None:
    size = 3 if name == "3 planes" else 1
    assert BY_NAME[name].parts(b"\xff" * size, 1, 1) is None
