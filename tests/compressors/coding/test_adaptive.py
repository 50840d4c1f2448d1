"""Models that learn while they code: what they say a piece takes is what it takes."""

from __future__ import annotations

import constriction
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.coding import adaptive
from compressors.coding.adaptive import Prior


def entropy_bits(symbols: np.ndarray) -> float:
    _, counts = np.unique(symbols, return_counts=True)
    return float(-(counts * np.log2(counts / counts.sum())).sum())


def drawn(shares: list[float], shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(shares), shape, p=shares)


@pytest.mark.parametrize("prior", [Prior(), Prior(6, 96, 3, 12), Prior(2, 12, 1, 8)])
@given(st.lists(st.integers(0, 7), min_size=1, max_size=200))
def test_blocks_survive(prior: Prior, symbols: list[int]) -> None:
    array, encoder = np.array(symbols), constriction.stream.queue.RangeEncoder()
    adaptive.encode_blocks(encoder, array, 8, prior)
    decoder = constriction.stream.queue.RangeDecoder(encoder.get_compressed())
    assert adaptive.decode_blocks(decoder, array.size, 8, prior).tolist() == symbols


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99), st.sampled_from([1, 4, 16]))
def test_columns_survive(rows: int, columns: int, seed: int, trust: int) -> None:
    symbols, encoder = drawn([0.6, 0.2, 0.2], (rows, columns), seed), constriction.stream.queue.RangeEncoder()
    adaptive.encode_columns(encoder, symbols, 3, trust)
    decoder = constriction.stream.queue.RangeDecoder(encoder.get_compressed())
    assert (adaptive.decode_columns(decoder, (rows, columns), 3, trust) == symbols).all()


def test_bits_are_those_that_are_written() -> None:
    symbols = drawn([0.7, 0.1, 0.1, 0.05, 0.05], (40, 60))
    for trust in (1, 16):
        encoder = constriction.stream.queue.RangeEncoder()
        adaptive.encode_columns(encoder, symbols, 5, trust)
        assert 0 <= encoder.num_bits() - adaptive.columns_bits(symbols, 5, trust) < 64 + 0.01 * symbols.size
    for prior in (Prior(), Prior(2, 12, 1, 8)):
        encoder = constriction.stream.queue.RangeEncoder()
        adaptive.encode_blocks(encoder, symbols.reshape(-1), 5, prior)
        bits = adaptive.blocks_bits(symbols.reshape(-1), 5, prior)
        assert 0 <= encoder.num_bits() - bits < 64 + 0.01 * symbols.size


def test_learning_costs_little_over_the_entropy() -> None:
    symbols = drawn([0.9, 0.05, 0.03, 0.02], (20000,))
    assert entropy_bits(symbols) < adaptive.blocks_bits(symbols, 4, Prior()) < entropy_bits(symbols) + 60


def test_by_hand() -> None:
    """One block of 8 symbols from half a count each, then one that has seen seven of one symbol and one of another."""
    symbols = np.array([0] * 7 + [1] + [0, 1])
    expected = 8 + -np.log2(7.5 / 9) - np.log2(1.5 / 9)
    assert adaptive.blocks_bits(symbols, 2, Prior()) == pytest.approx(expected)
    rows = np.array([[0, 1], [0, 1]])
    shares = np.array([1.5, 1.5]) / 3
    assert adaptive.columns_bits(rows, 2, 4) == pytest.approx(2 - 2 * np.log2((1 + 4 * shares[0]) / 5))


def test_a_column_that_is_always_zero_costs_next_to_nothing() -> None:
    symbols = drawn([0.5, 0.5], (200, 50))
    symbols[:, ::2] = 0
    flat = adaptive.blocks_bits(symbols.reshape(-1), 2, Prior())
    assert adaptive.columns_bits(symbols, 2, 1) < 0.7 * adaptive.columns_bits(symbols, 2, 4096)
    assert adaptive.columns_bits(symbols, 2, 1) < 0.7 * flat


def test_priors() -> None:
    assert Prior().counts(3).tolist() == [0.5] * 3
    bell = Prior(6, 96, 10, 24).counts(21)
    assert bell.argmax() == 10
    assert np.allclose(bell, bell[::-1])
    assert bell.sum() == pytest.approx(96 + 21 / 64)
    heavy = Prior(2, 96, 10, 24).counts(21)
    assert heavy[0] > bell[0]
    few = np.random.default_rng(0).normal(128, 20, 300).round().astype(int)
    best = min(adaptive.priors_for(few, 256), key=lambda prior: adaptive.blocks_bits(few, 256, prior))
    assert best.power  # a shape says in four numbers what counts take long to learn
    assert adaptive.blocks_bits(few, 256, best) < 0.95 * adaptive.blocks_bits(few, 256, Prior())


@pytest.mark.parametrize("count", [0, 1, 8, 9, 5000])
def test_blocks_cover_all(count: int) -> None:
    found = list(adaptive.blocks(count))
    assert [i for start, stop in found for i in range(start, stop)] == list(range(count))
    assert all(stop - start <= adaptive.LARGEST_BLOCK for start, stop in found)
