"""Methods that remember their last result."""

from __future__ import annotations

from dataclasses import dataclass, field

from search_spaces.remembered import remembered


@dataclass(frozen=True, eq=True)
class Point:
    x: int
    asked: list[int] = field(default_factory=list, compare=False)

    @remembered
    def times(self, factor: int) -> int:
        self.asked.append(factor)
        return self.x * factor


def test_the_last_result_is_not_computed_again() -> None:
    point = Point(3)
    assert [point.times(2), point.times(2), point.times(5), point.times(5)] == [6, 6, 15, 15]
    assert point.asked == [2, 5]


def test_objects_that_are_equal_are_asked_each() -> None:
    one, other = Point(3), Point(3)
    assert one == other
    assert [one.times(2), other.times(2), one.times(2)] == [6, 6, 6]
    assert (one.asked, other.asked) == ([2, 2], [2])
