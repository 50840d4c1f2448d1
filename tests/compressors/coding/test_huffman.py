"""Huffman codes: the textbook's example, the bounds of theory, and the way back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.coding.huffman import LONGEST, canonical_codes, code_lengths, decode, encode
from compressors.coding.numbers import Damaged


def test_the_example_of_rfc_1951() -> None:
    assert canonical_codes([3, 3, 3, 3, 3, 2, 4, 4]) == [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111]


def test_a_known_tree() -> None:
    assert code_lengths([45, 13, 12, 16, 9, 5]) == [1, 3, 3, 3, 4, 4]  # Cormen et al., Introduction to Algorithms
    assert code_lengths([0, 7, 0]) == [0, 1, 0]
    assert code_lengths([0, 0]) == [0, 0]


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=40).filter(lambda counts: sum(map(bool, counts)) > 1))
def test_lengths_fill_the_tree_and_are_within_a_bit_of_the_entropy(counts: list[int]) -> None:
    lengths = np.array(code_lengths(counts))
    assert (2.0 ** -lengths[lengths > 0]).sum() == 1
    used = np.array(counts)[lengths > 0] / sum(counts)
    entropy = -(used * np.log2(used)).sum()
    mean = (used * lengths[lengths > 0]).sum()
    assert entropy <= mean + 1e-9 < entropy + 1


@pytest.mark.parametrize("counts", list(itertools.product(range(1, 4), repeat=3))[:12])
def test_no_prefix_code_of_three_symbols_is_shorter(counts: tuple[int, ...]) -> None:
    ways = set(itertools.permutations((1, 2, 2)))
    least = min(sum(c * bits for c, bits in zip(counts, way, strict=True)) for way in ways)
    assert sum(c * bits for c, bits in zip(counts, code_lengths(counts), strict=True)) == least


@given(st.lists(st.integers(0, 30), max_size=300))
def test_symbols_survive(symbols: list[int]) -> None:
    array = np.array(symbols, np.int64)
    lengths = code_lengths(np.bincount(array, minlength=31).tolist())
    data = encode(array, lengths)
    assert decode(data, lengths, array.size).tolist() == symbols
    assert len(data) == (sum(lengths[symbol] for symbol in symbols) + 7) // 8


def test_what_is_no_code_is_refused() -> None:
    with pytest.raises(Damaged, match="end early"):
        decode(b"\0", [1, 1], 9)
    with pytest.raises(Damaged, match="end early"):
        decode(bytes(9), [0, 0], 1)
    fibonacci = [1, 1]
    while len(fibonacci) < LONGEST + 3:
        fibonacci.append(sum(fibonacci[-2:]))
    with pytest.raises(ValueError, match=f"at most {LONGEST} bits"):
        code_lengths(fibonacci)
