"""Methods that remember their results."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

import search_spaces.remembered
from search_spaces.remembered import remembered


@dataclass(frozen=True, eq=True)
class Point:
    x: int
    asked: list[int] = field(default_factory=list, compare=False)

    @remembered
    def times(self, factor: int) -> int:
        self.asked.append(factor)
        return self.x * factor


def test_a_result_is_not_computed_again() -> None:
    point = Point(3)
    assert [point.times(2), point.times(5), point.times(2), point.times(5)] == [6, 15, 6, 15]
    assert point.asked == [2, 5]


def test_equal_arguments_are_the_same_question() -> None:
    point = Point(3)
    assert [point.times(int("1000")), point.times(int("1000"))] == [3000, 3000]  # two objects: small numbers are one
    assert point.asked == [1000]


def test_objects_that_are_equal_are_asked_each() -> None:
    one, other = Point(3), Point(3)
    assert one == other
    assert [one.times(2), other.times(2), one.times(2)] == [6, 6, 6]
    assert (one.asked, other.asked) == ([2], [2])


def test_few_results_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_spaces.remembered, "MOST", 2)
    point = Point(1)
    assert [point.times(factor) for factor in (1, 2, 3, 1)] == [1, 2, 3, 1]
    assert point.asked == [1, 2, 3, 1]


def test_no_result_is_that_of_an_object_that_is_gone() -> None:
    assert [Point(x).times(1) for x in range(100)] == list(range(100))
