"""A coded file gives its file back, whatever is said of its tensors, and damage is told."""

from __future__ import annotations

import hashlib
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.coding.coders import CODERS
from compressors.coding.container import MAGIC, coded, decoded
from compressors.coding.numbers import Damaged, NumberWriter
from compressors.coding.spans import Span, as_bytes, best_piece
from compressors.coding.squeezing import squeezed, unsqueezed
from compressors.coding.views import VIEWS

ALL = tuple(view.name for view in VIEWS)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8), st.lists(st.sampled_from(ALL), max_size=3))
def test_any_bytes_and_any_spans(data: bytes, cuts: list[int], views: list[str]) -> None:
    places = sorted({min(cut, len(data)) for cut in cuts})
    spans = [
        Span(start, stop, tuple(views), ((1, stop - start), (2, (stop - start) // 2)), joint="ab"[start % 2])
        for start, stop in zip(places[::2], places[1::2], strict=False)
    ]
    assert decoded(coded(data, spans)) == data


def floats(values: np.ndarray, start: int) -> Span:
    return Span(start, start + 4 * values.size, ("words of 4 bytes",), ((1, values.size),), is_float32=True)


def test_floats_that_are_others_times_a_number_cost_next_to_nothing() -> None:
    random = np.random.default_rng(0)
    own = random.normal(size=500).astype("<f4")
    other = (own * np.float32(0.0137)).astype("<f4")
    changed = other.copy()
    changed[7] = np.nextafter(changed[7], np.float32(1))
    sizes = []
    for second in (other, changed):
        data = b"head" + own.tobytes() + b"between" + second.tobytes()
        blob = coded(data, [floats(own, 4), floats(second, 4 + own.nbytes + 7)])
        assert decoded(blob) == data
        sizes.append(len(blob))
    assert sizes[0] < sizes[1] - 1000
    strange = np.array([np.nan, np.inf, 0.0, -0.0] * 4, "<f4")
    data = strange.tobytes() * 2
    assert decoded(coded(data, [floats(strange, 0), floats(strange, strange.nbytes)])) == data


def test_codes_are_seen_as_what_makes_them_smallest() -> None:
    codes = np.random.default_rng(0).choice([0, 1], (40, 64), p=[0.95, 0.05])
    data = np.packbits(codes.reshape(-1)).tobytes()
    span = Span(0, len(data), ("bytes", "bits", "4 bits"), ((1, len(data)), (1, 2 * len(data)), (40, 64)))
    piece = best_piece(data, span)
    assert VIEWS[piece.view].name == "bits"
    assert piece.shape in ((40, 64), (1, 40 * 64))
    assert len(coded(data, [span])) < len(coded(data, [as_bytes(span)])) < len(data) + 80


def test_each_section_is_kept_as_it_is_smallest() -> None:
    random = np.random.default_rng(0).bytes(200)
    for data in (b"", random, b"node" * 50, b"abc" + random * 9):
        assert unsqueezed(squeezed(data), len(data)) == data
        assert len(squeezed(data)) <= len(data) + 1
    assert len(squeezed(b"node" * 50)) < 20
    with pytest.raises(Damaged):
        unsqueezed(b"\x09abc")


def test_the_header() -> None:
    blob = coded(b"a file", [])
    assert blob[:5] == MAGIC + b"\x01"
    assert blob[9:41] == hashlib.sha256(b"a file").digest()
    assert blob == coded(b"a file", [])


def test_any_changed_byte_is_noticed() -> None:
    blob = coded(b"weights" * 30, [Span(7, 70, ("bytes",), ((1, 63),))])
    for place in range(len(blob)):
        damaged = blob[:place] + bytes([blob[place] ^ 0x11]) + blob[place + 1 :]
        with pytest.raises(Damaged, match=r"coded file|damaged"):
            decoded(damaged)
    for length in range(0, len(blob), 7):
        with pytest.raises(Damaged, match=r"coded file|damaged"):
            decoded(blob[:length])
    with pytest.raises(Damaged, match="another version: expected 1, got 07"):
        decoded(MAGIC + b"\x07" + blob[5:])


@given(st.binary(max_size=80), st.integers(0, 200), st.binary(max_size=3))
def test_what_was_made_to_mislead_is_refused_too(noise: bytes, place: int, more: bytes) -> None:
    """With a check sum that fits: whatever lies behind it is no file, or not the one whose sha256 is told."""
    blob = coded(b"weights" * 30, [Span(7, 70, ("int8",), ((7, 9),))])
    body = blob[9 : 41 + place] + more + noise
    forged = blob[:5] + zlib.crc32(body).to_bytes(4, "big") + body
    try:
        found = decoded(forged)
    except Damaged:
        return
    assert found == b"weights" * 30  # zeros may stand behind what the range coder reads


@pytest.mark.parametrize(
    ("coder", "figures"),
    [
        ("range", [6, 12, 1, 8, 1]),
        ("range", [2**40]),
        ("range by column", []),
        ("range by neighbours", [1]),
        ("range by neighbours", [2**40, 2, 0, 2]),
    ],
)
def test_figures_that_no_coder_writes_are_damage(coder: str, figures: list[int]) -> None:
    """With a check sum that fits; loops of 2^40 rounds would never end."""
    plain, body = NumberWriter(), NumberWriter()
    plain.put(1, 0, 40, 0, 0, 4, 10)  # one span of 40 bytes, coded by itself, seen as 4 rows of bytes
    plain.put([row.name for row in CODERS].index(coder), 0, 7)
    plain.put_list(figures)
    body.put(0)
    for section in (squeezed(b""), squeezed(bytes(plain.data)), bytes(range(40))):
        body.put_bytes(section)
    head = bytes(32) + bytes(body.data)
    with pytest.raises(Damaged, match="is damaged: ") as caught:
        decoded(MAGIC + b"\x01" + zlib.crc32(head).to_bytes(4, "big") + head)
    assert "\n" not in str(caught.value)


def test_spans_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="begins at 5 or later, got 3"):
        coded(b"0123456789", [Span(0, 5, ("bytes",), ((1, 5),)), Span(3, 8, ("bytes",), ((1, 5),))])
