"""Notices: warnings of the package's own loggers, once each."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from nas.executors.notices import LOGGER, tell_notices


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger(LOGGER)
    handlers, propagate = list(logger.handlers), logger.propagate
    yield logger
    logger.handlers, logger.propagate = handlers, propagate


def test_warnings_of_the_package_are_told_once_however_often_it_is_asked_for() -> None:
    told: list[str] = []
    tell_notices(told.append)
    tell_notices(told.append)
    logging.getLogger("nas.measuring.places").warning("%s is away", "cam")
    logging.getLogger("nas.measuring.places").info("nothing")
    logging.getLogger("another").warning("not ours")
    assert told == ["cam is away"]
