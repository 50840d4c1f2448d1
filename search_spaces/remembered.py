"""A method that remembers its last result, for records that are asked the same by several in turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Result = TypeVar("Result")


def remembered(method: Callable[..., Result]) -> Callable[..., Result]:
    """Of a frozen object and the arguments it was called with last, by identity, the result is not computed again."""
    last: tuple[tuple[Any, ...], Any] = ((), None)

    @wraps(method)
    def asked(*given: Any) -> Result:
        nonlocal last
        before, result = last
        if len(before) != len(given) or any(one is not other for one, other in zip(before, given, strict=True)):
            result = method(*given)
            last = given, result
        found: Result = result
        return found

    return asked
