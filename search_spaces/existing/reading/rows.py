"""What a row of the table of functions is: it takes torch's arguments, behind the one who writes the blueprint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from search_spaces.existing.reading.forms import Form
from search_spaces.existing.reading.values import Value


class Writer(Protocol):
    """What functions need of the one who writes the blueprint."""

    def apply(self, form: Form, *read: Value) -> Value:
        """The output of one more operation."""


Row = Callable[..., Any]
