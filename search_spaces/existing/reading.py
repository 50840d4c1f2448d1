"""Reads the network that a study names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search_spaces.existing.known import Known

if TYPE_CHECKING:
    from search_spaces.existing.space import ExistingSpace


def read_space(space: ExistingSpace, asked: Mapping[str, Any]) -> Known:
    """Read the network of a space, edited as it says, and remember it under `asked`.

    Raises ValueError that begins with the key at fault, `space.base` or `space.weights`.
    """
    raise NotImplementedError
