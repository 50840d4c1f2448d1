"""Random numbers by counting: each is a function of its seed and its place, however many others are drawn.

So the children of a parent are the same in every ask that it is a parent in, whoever else is, and what was decoded of
them can be kept. SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195) is the mixer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Floats = NDArray[np.float64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mixed(words: Words) -> Words:
    """SplitMix64's output function: near words become unrelated ones."""
    words = words + GOLDEN
    words = (words ^ (words >> np.uint64(30))) * FIRST
    words = (words ^ (words >> np.uint64(27))) * SECOND
    return words ^ (words >> np.uint64(31))


def words_of(*numbers: int) -> np.uint64:
    """One word of several whole numbers, different for another order of them."""
    word = np.zeros(1, dtype=np.uint64)
    for number in numbers:
        word = mixed(word ^ np.uint64(number & 0xFFFFFFFFFFFFFFFF))
    return np.uint64(word[0])


def hashed(rows: Floats) -> Words:
    """One word for each row of numbers, shape (n,)."""
    words = np.zeros(len(rows), dtype=np.uint64)
    for column in np.ascontiguousarray(rows.T):
        words = mixed(words ^ column.view(np.uint64))
    return words


def uniform(words: Words, columns: int, *, stream: int) -> Floats:
    """Numbers in [0, 1) of shape (n, columns), a row for each word; streams are independent of each other."""
    places = mixed(np.arange(columns, dtype=np.uint64) ^ words_of(stream))
    return (mixed(words[:, None] ^ places) >> np.uint64(11)).astype(np.float64) * 2.0**-53
