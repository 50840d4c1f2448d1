"""One budget for all groups: as near to it as it gets, and no way to keep more of what matters."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.budgets import Budget, budget_of, fewest, least_width, own_grid, shared_out, without
from compressors.plan import CompressionPlan
from compressors.requests.pruned import Prune
from compressors.steps import STEPS, requests_of

scores = st.lists(st.floats(0, 1, width=16), min_size=1, max_size=9)
networks = st.dictionaries(st.sampled_from("abc"), scores, min_size=1)
ratios, grids = st.floats(0, 0.875), st.integers(1, 4)


def allowed(width: int, grid: int) -> list[int]:
    """All counts that a group may keep: as it is, or a multiple of the grid of at least an eighth."""
    return [n for n in range(1, width + 1) if n == width or (n % grid == 0 and n * 8 >= width)]


@given(networks, ratios, grids)
def test_no_other_way_comes_nearer_or_removes_less_that_matters(
    groups: dict[str, list[float]], ratio: float, grid: int
) -> None:
    kept = {name: shared_out(groups, ratio, grid).get(name, len(own)) for name, own in groups.items()}
    assert all(kept[name] in allowed(len(own), grid) for name, own in groups.items())
    if any(len(own) % grid for own in groups.values()):
        return  # units of different sizes: as good as greedy
    total = sum(map(len, groups.values()))

    def lost(ways: dict[str, int]) -> float:
        return sum(sum(sorted(own)[: len(own) - ways[name]]) for name, own in groups.items())

    every = [
        dict(zip(groups, ways, strict=True)) for ways in product(*(allowed(len(s), grid) for s in groups.values()))
    ]
    missed = abs(total - sum(kept.values()) - ratio * total)
    assert missed <= min(abs(total - sum(ways.values()) - ratio * total) for ways in every) + 1e-9
    equal = [ways for ways in every if sum(ways.values()) == sum(kept.values())]
    assert lost(kept) <= min(map(lost, equal)) + 1e-9


@given(networks, ratios, grids)
def test_no_group_has_fewer_than_foretold(groups: dict[str, list[float]], ratio: float, grid: int) -> None:
    sized = [SimpleNamespace(name=name, width=len(own), unit=1) for name, own in groups.items()]
    least, kept = fewest(sized, Budget(ratio, grid)), shared_out(groups, ratio, grid)
    for name, own in groups.items():
        assert least.get(name, len(own)) <= kept.get(name, len(own))


@given(networks, ratios, st.integers(1, 8), st.dictionaries(st.sampled_from("abc"), st.integers(1, 8)))
def test_channels_that_are_several_of_a_layer_count_as_so_many(
    groups: dict[str, list[float]], ratio: float, grid: int, units: dict[str, int]
) -> None:
    kept = {name: shared_out(groups, ratio, grid, units).get(name, len(own)) for name, own in groups.items()}
    lots = {name: own_grid(grid, units.get(name, 1)) for name in groups}
    assert all(kept[name] in allowed(len(own), lots[name]) for name, own in groups.items())
    total = sum(len(own) * units.get(name, 1) for name, own in groups.items())
    gone = sum((len(own) - kept[name]) * units.get(name, 1) for name, own in groups.items())
    largest = max(lots[name] * units.get(name, 1) for name in groups)
    floor = sum((len(own) - min(allowed(len(own), lots[name]))) * units.get(name, 1) for name, own in groups.items())
    assert min(ratio * total, floor) - largest <= gone <= ratio * total + largest / 2
    sized = [SimpleNamespace(name=name, width=len(own), unit=units.get(name, 1)) for name, own in groups.items()]
    least = fewest(sized, Budget(ratio, grid))
    assert all(least.get(name, len(own)) <= kept[name] for name, own in groups.items())


def test_a_lot_is_a_grid_of_channels_where_they_are_written() -> None:
    assert [own_grid(8, unit) for unit in (1, 2, 3, 8, 16)] == [8, 4, 2, 1, 1]
    # 8 channels that are 4 each, and 32 of one each: half of 64 are 32, the lots of `a` 2 channels, those of `b` 8.
    scores = {"a": [1.0] * 8, "b": [2.0] * 32}
    assert shared_out(scores, 0.25, 8, {"a": 4}) == {"a": 4}
    assert shared_out(scores, 0.25, 8) == {"b": 24}
    assert shared_out(scores, 0.5, 8, {"a": 4}) == {"a": 2, "b": 24}


def test_what_matters_least_goes_first_wherever_it_is() -> None:
    groups = {"a": [5.0, 6.0, 7.0, 8.0], "b": [1.0, 2.0, 9.0, 9.0]}
    assert shared_out(groups, 0.25, 2) == {"b": 2}
    assert shared_out(groups, 0.5, 2) == {"a": 2, "b": 2}
    assert shared_out(groups, 0.1, 2) == {}


@pytest.mark.parametrize(("width", "grid", "least"), [(64, 8, 8), (65, 8, 16), (20, 8, 8), (4, 8, 4), (9, 1, 2)])
def test_an_eighth_is_left(width: int, grid: int, least: int) -> None:
    assert least_width(width, grid) == least


def test_a_group_off_the_grid_comes_down_to_it_first() -> None:
    """Of 11 channels 3 go before the next 4, so that 8 and 4 are left."""
    assert shared_out({"a": [0.0] * 11}, 3 / 11, 4) == {"a": 8}
    assert shared_out({"a": [0.0] * 11}, 7 / 11, 4) == {"a": 4}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"network": {"ratio": 1.0}}, r"pruned.network.ratio: expected 0..0.875, got 1.0"),
        ({"network": {"ratio": "half"}}, r"pruned.network.ratio: expected .* got 'half'"),
        ({"network": {"ratio": 0.5, "grid": 0}}, "pruned.network.grid: expected a whole number"),
        ({"network": {"ratio": 0.5, "grid": True}}, "pruned.network.grid: expected a whole number"),
        ({"network": {"ratio": False}}, "pruned.network.ratio: expected .* got False"),
        ({"network": {"ratio": 0.5, "groups": "a"}}, "pruned.network.groups: expected names"),
        ({"network": {"share": 0.5}}, "pruned.network: expected ratio, grid and groups, got share"),
        ({"network": 0.5}, "pruned: expected {'network'"),
        ({"stem": {"ratio": 0.5}}, "pruned: expected {'network'"),
    ],
)
def test_what_is_no_budget_is_named(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        budget_of(asked)


def test_only_groups_that_are_named_compete() -> None:
    groups = [SimpleNamespace(name="a", width=8, unit=1), SimpleNamespace(name="b", width=8, unit=1)]
    assert Budget(0.5, 8, ("b",)).among(groups) == groups[1:]
    assert Budget(0.5, 8).among(groups) == groups
    with pytest.raises(ValueError, match="no channel group c, expected"):
        Budget(0.5, 8, ("c",)).among(groups)


def plan_of(**asked: Any) -> CompressionPlan:
    return CompressionPlan(steps={"pruned": {"network": asked}})


def test_a_plan_with_a_budget_asks_for_pruning() -> None:
    (request,) = requests_of(plan_of(ratio=0.5, grid=4))
    assert request.record == Prune({}, Budget(0.5, 4))


def test_counts_and_a_budget_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="channels kept by group or a budget for the network, got both"):
        requests_of(plan_of(ratio=0.5).model_copy(update={"kept": {"a": 4}}))


def test_a_resolved_budget_is_a_plan_of_counts() -> None:
    step, other = STEPS["pruned"], {"toy": {"x": 1}}
    plan = CompressionPlan(formats={"a": "int8"}, steps={**plan_of(ratio=0.5).steps, **other})
    written = step.written(plan, Prune({"b": 4, "a": 8}))
    assert written == CompressionPlan(kept={"a": 8, "b": 4}, formats={"a": "int8"}, steps=other)
    groups = [SimpleNamespace(name="a", width=16, unit=1), SimpleNamespace(name="b", width=64, unit=1)]
    assert step.least(plan_of(ratio=0.25, grid=4), groups, []).kept == {"a": 4, "b": 42}


def test_groups_that_are_gone_have_no_part_in_it() -> None:
    asked = {"network": {"ratio": 0.5, "grid": 4, "groups": ["a", "b"]}}
    assert without(asked, {"a", "c"}) == {"network": {"ratio": 0.5, "grid": 4, "groups": ["b"]}}
    assert without(asked, {"a", "b"}) == {}
    assert without({"network": {"ratio": 0.5}}, {"a"}) == {"network": {"ratio": 0.5}}
