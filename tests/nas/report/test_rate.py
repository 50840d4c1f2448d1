from __future__ import annotations

from typing import Any

import pytest

from nas.report.rate import Rate, rate_of
from nas.run_folder.log import Level, LogLine


def line(seconds: float, event: str = "over", **more: Any) -> LogLine:
    return LogLine("2030", seconds, Level.INFO, event, "words", {"phase": "search", **more})


def overs(*seconds: float, state: str = "COMPLETE") -> list[LogLine]:
    return [line(one, state=state) for one in seconds]


def test_the_rate_counts_from_the_first_start_to_now() -> None:
    log = [line(100, "started"), *overs(400, 700), *overs(1000, state="FAILED")]
    assert rate_of(log, 1900.0) == Rate(pytest.approx(6), pytest.approx(4))  # type: ignore[arg-type]


def test_the_rate_is_that_of_the_last_hour() -> None:
    log = [line(0, "started"), *overs(100, 200, 300), *overs(5000, 7000)]
    assert rate_of(log, 7200.0) == Rate(pytest.approx(2), pytest.approx(2))  # type: ignore[arg-type]


def test_behind_the_search_the_rate_stays_that_of_the_search() -> None:
    log = [line(0, "started"), *overs(900, 1800), line(1800, "started", phase="final")]
    assert rate_of(log, 36000.0) == Rate(pytest.approx(4), pytest.approx(4))  # type: ignore[arg-type]


def test_before_the_first_end_there_is_no_rate() -> None:
    assert rate_of([line(0, "started")], 100.0) is None
    assert rate_of([], None) is None
