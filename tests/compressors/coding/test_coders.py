"""One suite over all coders: what is written is read, and takes about what was said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.coding.coders import CODERS, HEAD, MOST_SYMBOLS, Sink, Source, best_coding, read, write
from compressors.coding.numbers import Damaged, NumberReader

NAMES = [coder.name for coder in CODERS if coder.name != "constant"]


def written(values: np.ndarray, names: tuple[str, ...] | None = None) -> tuple[bytes, bytes]:
    sink = Sink()
    write(sink, values, best_coding(values, names))
    return bytes(sink.plain.data), sink.range_coded()


@pytest.mark.parametrize("name", NAMES)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(-200, 50), st.integers(1, 150), st.integers(0, 9))
def test_values_survive(name: str, rows: int, columns: int, low: int, span: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(low, low + span, (rows, columns))
    plain, ranged = written(values, (name, "plain"))  # not every coder takes all values
    assert (read(Source(NumberReader(plain), ranged), (rows, columns)) == values).all()


@pytest.mark.parametrize("name", NAMES)
def test_bits_are_about_those_written(name: str) -> None:
    values = np.random.default_rng(0).binomial(12, 0.3, (50, 40))
    plain, ranged = written(values, (name,))
    assert len(plain) + len(ranged) == pytest.approx(best_coding(values, (name,)).bits / 8, abs=16)


def test_each_coder_is_best_somewhere() -> None:
    random = np.random.default_rng(0)
    sparse = (random.random((60, 80)) < np.linspace(0, 1, 80) ** 3).astype(int)
    cases = {
        "constant": np.full((3, 5), -7),
        "plain": random.permutation(16).reshape(4, 4),
        "range": random.normal(0, 9, (50, 50)).round().astype(int),
        "range by column": sparse,
        "range by row": sparse.T,
        "range by neighbours": np.repeat(random.integers(0, 2, (30, 60)), 4, axis=0),
    }
    assert {name: best_coding(values).name for name, values in cases.items()} == {name: name for name in cases}
    assert best_coding(cases["range"]).bits < best_coding(cases["range"], ("huffman",)).bits
    assert best_coding(np.full((3, 5), -7)).bits == 8 * HEAD


def test_what_spans_too_much_is_refused() -> None:
    with pytest.raises(ValueError, match=f"at most {MOST_SYMBOLS}, got 0 to 256"):
        best_coding(np.array([[0, 256]]))


@pytest.mark.parametrize("head", [b"\x63\x00\x02\x00", b"\x01\x00\x00\x00", b"\x01\x00\x81\x02\x00"])
def test_a_head_of_no_coder_is_refused(head: bytes) -> None:
    with pytest.raises(Damaged, match="coders"):
        read(Source(NumberReader(head + bytes(9)), b""), (1, 1))
