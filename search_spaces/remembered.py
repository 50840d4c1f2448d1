"""Methods that remember their results, for frozen records that are asked the same by several in turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Result = TypeVar("Result")

MOST = 4096  # results of one method that are kept; then it begins anew


def remembered(method: Callable[..., Result]) -> Callable[..., Result]:
    """Of one object and the same arguments, by identity, the result is computed once, as long as it is kept.

    Neither may ever change. Equal objects are computed each, without the time that comparing them takes.
    """
    kept: dict[tuple[int, ...], tuple[tuple[Any, ...], Result]] = {}

    @wraps(method)
    def asked(*given: Any) -> Result:
        key = tuple(map(id, given))
        found = kept.get(key)  # it holds what was given, so that no other object has these identities meanwhile
        if found is None:
            if len(kept) >= MOST:
                kept.clear()
            found = kept[key] = given, method(*given)
        return found[1]

    return asked
