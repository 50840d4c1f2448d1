"""Groups that a column of a table names: what images of one film or patient have in common, in all classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.data.records import NO_GROUP, Array
from nas.study import Data


def group_numbers(groups: Sequence[str | None]) -> Array | None:
    """A number per image for what it has in common with others: "" is of no group; None where none is known."""
    if not groups or groups[0] is None:
        return None
    codes = np.unique(np.array(groups, str), return_inverse=True)[1].astype(np.int64)
    codes[[group == "" for group in groups]] = NO_GROUP
    return codes


def in_common(data: Data) -> str:
    """A note on these groups."""
    return f"images with the same {data.columns.group or 'group'!r} stay in one part, whatever their class"
