"""Formats: the table's codes by closed form, and schemes of activations."""

from __future__ import annotations

from typing import get_args

import pytest

from compressors.formats import BITS, FORMATS, ActivationScheme, Format, WeightFormat, format_named, integer_codes


def test_a_study_knows_the_formats_of_the_table() -> None:
    assert list(FORMATS) == list(get_args(WeightFormat))
    uniform = {"fp32": 32, "int8": 8, "int6": 6, "int5": 5, "int4": 4, "int3": 3, "int2": 2}
    further = {"ternary": 2, "binary": 1, "codebook4": 4, "codebook3": 3, "codebook2": 2, "pow2": 8}
    assert dict(BITS) == {**uniform, **further, "int8_asymmetric": 8}


def test_codes_are_those_of_two_s_complement_but_at_eight_bits() -> None:
    ends = [(codes[0], codes[-1]) for codes in map(integer_codes, (8, 7, 4, 3, 2))]
    assert ends == [(-127, 127), (-64, 63), (-8, 7), (-4, 3), (-2, 1)]
    for name, fmt in FORMATS.items():
        assert fmt.is_float == (name == "fp32")
        assert len(fmt.codes) <= 2**fmt.bits


def test_what_a_weight_tells_is_less_than_is_stored_where_codes_are_left_out() -> None:
    told = {name: row.information for name, row in FORMATS.items()}
    assert {name for name, bits in told.items() if bits != BITS[name]} == {"ternary"}
    assert told["ternary"] == pytest.approx(1.585, abs=1e-3)


def test_entries_of_codebooks_are_as_large_as_integers_of_8_bits() -> None:
    assert {name for name, row in FORMATS.items() if row.fills_8_bits} == {
        *("int8", "int8_asymmetric", "pow2"), *("codebook2", "codebook3", "codebook4"),
    }  # fmt: skip


def test_only_signs_have_no_zero() -> None:
    assert [name for name, row in FORMATS.items() if not row.has_zero] == ["binary"]


@pytest.mark.parametrize("bits", [0, 1, 9, 32])
def test_other_widths_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=f"expected 2..8, got {bits}"):
        integer_codes(bits)


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected one of fp32, int8, .*, got 'int9'"):
        format_named("int9")


def test_bits_follow_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "sign", Format("sign", 1, range(-1, 2, 2)))
    assert BITS["sign"] == 1


@pytest.mark.parametrize(
    ("scheme", "ends"),
    [
        (ActivationScheme(), (0, 255)),
        (ActivationScheme(signed=True), (-128, 127)),
        (ActivationScheme(signed=True, symmetric=True), (-127, 127)),
        (ActivationScheme(bits=4), (0, 15)),
        (ActivationScheme(bits=4, signed=True), (-8, 7)),
    ],
)
def test_codes_of_activations(scheme: ActivationScheme, ends: tuple[int, int]) -> None:
    assert (scheme.low, scheme.high) == ends
    assert scheme.levels == ends[1] - ends[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"bits": 9}, "expected 2..8, got 9"), ({"symmetric": True}, "expected a signed scheme where it is symmetric")],
)
def test_impossible_schemes_are_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ActivationScheme(**fields)  # type: ignore[arg-type]
