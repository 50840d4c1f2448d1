"""The benchmark of the latency model: what it reckons, on a machine whose latencies are known."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from by_hand import make_study
from rich.console import Console
from synthetic_machine import drawn, measured

Import = Callable[[str], ModuleType]


@pytest.fixture
def benchmark(module: Import) -> ModuleType:
    return module("latency_model")


def test_figures_are_of_all_held_out_candidates(benchmark: ModuleType) -> None:
    rows = [
        {"off": 0.03, "above_low": 1.0, "below_high": 1.0, "width": 0.1},
        {"off": -0.04, "above_low": 0.0, "below_high": 1.0, "width": 0.2},
        {"off": 0.0, "above_low": 1.0, "below_high": 0.0, "width": 0.3},
        {"off": 0.0, "above_low": 1.0, "below_high": 1.0, "width": 0.4},
    ]
    found = benchmark.summarise(rows)
    assert found["rms"] == pytest.approx(np.sqrt(0.0025 / 4))
    assert found["median"] == pytest.approx(0.015)
    assert (found["covered"], found["low"], found["half_width"]) == (0.5, 0.75, pytest.approx(0.25))


def test_every_way_to_fit_is_a_row(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "measured", lambda study, count, seed: measured(drawn(count)))
    monkeypatch.setattr(benchmark, "calibration_of", lambda study: measured(drawn(12, seed=3)))
    found = benchmark.of_study(make_study(), networks=24, sizes=[6, 12], repeats=1, console=Console(quiet=True))
    ways = ["6 trials", "calibration + 6 trials", "12 trials", "calibration + 12 trials", "calibration"]
    assert list(found["fits"]) == ways
    assert found["calibration"] == 12
    assert found["fits"]["calibration + 12 trials"]["rms"] < found["fits"]["6 trials"]["rms"]
