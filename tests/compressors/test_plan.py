"""Plans: how many channels a ratio leaves, and what a plan refuses."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from compressors.plan import BITS, CompressionPlan, kept_channels

grids = st.sampled_from([1, 2, 4, 8, 16])
ratios = st.floats(0, 1, exclude_max=True)


@given(steps=st.integers(1, 40), ratio=ratios, grid=grids)
def test_kept_channels_is_the_nearest_step_of_the_grid(steps: int, ratio: float, grid: int) -> None:
    """By brute force over all steps of a width that lies on the grid; of two equally near ones the wider."""
    width = steps * grid
    kept = kept_channels(width, ratio, grid)
    allowed = range(grid, width + 1, grid)
    assert kept in allowed
    distance = min(abs(choice - width * (1 - ratio)) for choice in allowed)
    assert abs(kept - width * (1 - ratio)) == pytest.approx(distance, abs=1e-9 * width)


@given(width=st.integers(1, 500), ratio=ratios, grid=grids)
def test_kept_channels_of_any_width(width: int, ratio: float, grid: int) -> None:
    kept = kept_channels(width, ratio, grid)
    assert min(width, grid) <= kept <= width
    assert kept % grid == 0 or kept == width


@given(width=st.integers(1, 500), pair=st.tuples(ratios, ratios), grid=grids)
def test_a_higher_ratio_never_keeps_more(width: int, pair: tuple[float, float], grid: int) -> None:
    low, high = sorted(pair)
    assert kept_channels(width, high, grid) <= kept_channels(width, low, grid)


def test_ties_keep_the_wider() -> None:
    assert [kept_channels(48, ratio, 16) for ratio in (0.0, 1 / 6, 0.5, 5 / 6)] == [48, 48, 32, 16]


@pytest.mark.parametrize("ratio", [-1e-9, -1.0, 1.0, 1.5, math.inf, -math.inf, math.nan])
def test_ratios_outside_are_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match=rf"in \[0, 1\), got {ratio}"):
        kept_channels(64, ratio, 8)


def test_absent_layers_are_fp32() -> None:
    plan = CompressionPlan(formats={"a": "int4", "b": "int8"})
    assert [plan.format_of(name) for name in ("a", "b", "c")] == ["int4", "int8", "fp32"]
    assert [BITS[plan.format_of(name)] for name in ("a", "b", "c")] == [4, 8, 32]


def test_json_round_trip_in_sorted_order() -> None:
    plan = CompressionPlan(kept={"z": 8, "a": 16}, formats={"y": "int4", "b": "int8"})
    text = plan.model_dump_json()
    assert text == '{"kept":{"a":16,"z":8},"formats":{"b":"int8","y":"int4"}}'
    assert CompressionPlan.model_validate_json(text) == plan


@pytest.mark.parametrize(
    "fields", [{"kept": {"a": 0}}, {"kept": {"a": 8.5}}, {"formats": {"a": "int7"}}, {"bits": {"a": 8}}]
)
def test_wrong_decisions_are_refused(fields: Mapping[str, object]) -> None:
    with pytest.raises(ValidationError):
        CompressionPlan.model_validate(fields)


def test_a_plan_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        CompressionPlan().kept = {}  # type: ignore[misc]


def test_further_steps_are_in_the_json_where_there_are_any() -> None:
    plan = CompressionPlan(steps={"b": {"y": 0.5, "x": [1, "z"]}, "a": {"w": None}})
    text = plan.model_dump_json()
    assert text == '{"kept":{},"formats":{},"steps":{"a":{"w":null},"b":{"x":[1,"z"],"y":0.5}}}'
    assert CompressionPlan.model_validate_json(text) == plan
    assert "steps" not in CompressionPlan(kept={"a": 1}).model_dump(mode="json")
