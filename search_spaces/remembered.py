"""Methods that remember their results, for frozen records that are asked the same by several in turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Result = TypeVar("Result")

MOST = 4096  # results of one method that are kept; then it begins anew


def remembered(method: Callable[..., Result]) -> Callable[..., Result]:
    """Of one object and equal arguments the result is computed once, as long as it is kept.

    The object may never change. Equal objects are computed each, without the time that comparing them takes.
    """
    kept: dict[tuple[Any, ...], tuple[Any, Result]] = {}

    @wraps(method)
    def asked(own: Any, *given: Any) -> Result:
        key = id(own), *given
        found = kept.get(key)  # it holds the object, so that no other one has its identity meanwhile
        if found is None:
            if len(kept) >= MOST:
                kept.clear()
            found = kept[key] = own, method(own, *given)
        return found[1]

    return asked
