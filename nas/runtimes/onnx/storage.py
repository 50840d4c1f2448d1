"""How weights are stored for a runtime that cannot restore them otherwise. Nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Storage:
    """Weights of the formats in `as_int8` are stored as int8 codes, not packed; where it `is_dense`, masked ones whole.

    By default both are as small as they can be.
    """

    as_int8: frozenset[str] = frozenset()
    is_dense: bool = False


SMALLEST = Storage()
