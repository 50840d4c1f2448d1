"""Notices: what is logged under `nas` at level WARNING or above reaches the user, from whatever process it comes."""

from __future__ import annotations

import logging
from collections.abc import Callable

LOGGER = "nas"


class _Telling(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())


def tell_notices(tell: Callable[[str], None]) -> None:
    """Have `tell` called with the text of every notice of this process, and with nothing twice."""
    logger = logging.getLogger(LOGGER)
    logger.handlers = [handler for handler in logger.handlers if not isinstance(handler, _Telling)]
    logger.addHandler(_Telling(tell))
    logger.propagate = False
