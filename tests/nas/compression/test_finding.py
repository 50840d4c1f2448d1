"""The plan that is found for limits: the least ratio of the mildest rung that keeps to them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.formats import FORMATS
from compressors.low_rank.factoring import Factoring
from nas.compression.finding import HALF, LADDER, STEP, find, least_ratio
from nas.compression.wishes import Asked, Wishes
from nas.errors import InputError

BITS = {"fp32": 32, "int8": 8, "int4": 4}
WEIGHTS = 1000.0


def wishes(limits: Mapping[str, float], **fields: object) -> Wishes:
    return Wishes(space={"base": "b"}, data={}, limits=limits, **fields)  # type: ignore[arg-type]


def costs(asked: Wishes) -> dict[str, float]:
    """A layer whose inputs and outputs are both cut; low rank halves it; a byte per 8 bits."""
    left = (1 - asked.ratio.choices[0]) ** 2 * (0.5 if asked.rank.choices[0] is not None else 1.0)
    bits = BITS[asked.format.choices[0]]
    return {"macs": WEIGHTS * left, "size_bytes": WEIGHTS * left * bits / 8, "latency_ms": left}


def plan(asked: Wishes) -> tuple[str, float, Factoring | None]:
    return asked.format.choices[0], asked.ratio.choices[0], asked.rank.choices[0]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (1000, ("int8", 0.0, None)),
        (562.5, ("int8", 0.25, None)),
        (63, ("int8", 0.75, None)),
        (62, ("int8", 0.65625, HALF)),  # 0.5 (1 - r)^2 <= 0.062 from r = 0.6479 on: 42 / 64
        (5, ("int4", 0.859375, HALF)),  # 0.25 (1 - r)^2 <= 0.005 from r = 0.8586 on: 55 / 64
    ],
)
def test_the_mildest_rung_is_taken(limit: float, expected: tuple[str, float, Factoring | None]) -> None:
    found = find(wishes({"size_bytes": limit}), costs)
    assert plan(found.wishes) == expected
    assert found.costs["size_bytes"] <= limit
    assert found.tried <= 3 * 8


def test_what_the_user_says_stays() -> None:
    found = find(wishes({"size_bytes": 300}, format=Asked(("int4",), {"fc": "fp32"}), rank=Asked((None,))), costs)
    assert plan(found.wishes) == ("int4", 0.234375, None)  # 0.5 (1 - r)^2 <= 0.3 from r = 0.2254 on: 15 / 64
    assert found.wishes.format.layers == {"fc": "fp32"}


def test_every_limit_is_kept_and_latency_with_a_margin() -> None:
    """Of latency 1 only 3 % less is taken for kept: 1.03 (1 - r)^2 <= 1."""
    assert find(wishes({"latency_ms": 1.0}), costs).wishes.ratio.choices == (STEP,)
    both = find(wishes({"size_bytes": 900, "macs": 250}), costs)
    assert plan(both.wishes) == ("int8", 0.5, None)


def test_where_no_rung_keeps_to_it_the_strongest_is_named() -> None:
    with pytest.raises(
        InputError, match=r"^--max: no plan keeps to it: with int4, 0.875 of .*size_bytes is 3.9062. of at most 3$"
    ):
        find(wishes({"size_bytes": 3}), costs)


@given(st.integers(0, 56), st.sampled_from([0.75, 0.875]))
def test_the_least_ratio_is_that_of_a_walk(threshold: int, largest: float) -> None:
    """Bisection against every multiple of STEP in turn."""

    def keeps(ratio: float) -> bool:
        return ratio >= threshold * STEP

    walked = next((n * STEP for n in range(round(largest / STEP) + 1) if keeps(n * STEP)), None)
    assert least_ratio(keeps, largest) == walked


def test_the_ladder_is_of_known_formats_and_climbs() -> None:
    assert [rung.format for rung in LADDER] == ["int8", "int8", "int4"]
    assert all(rung.format in FORMATS for rung in LADDER)
    assert LADDER[0].rank is None
