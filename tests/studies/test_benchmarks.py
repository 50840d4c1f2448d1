"""What the benchmarks compute besides time: ties, spreads, synthetic records."""

from __future__ import annotations

import importlib.util
import itertools
import math
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

BENCHMARKS = Path(__file__).parents[2] / "studies" / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def repeatability() -> Iterator[ModuleType]:
    yield load("latency_repeatability")
    del sys.modules["latency_repeatability"]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=12))
def test_tau_is_scipys_where_only_equal_values_tie(repeatability: ModuleType, pairs: list[tuple[int, int]]) -> None:
    first, second = zip(*pairs, strict=True)
    if len(set(first)) == 1 or len(set(second)) == 1:
        return  # all tied: not defined
    assert repeatability.tau_b(first, second) == pytest.approx(kendalltau(first, second).statistic)


def test_figures_less_than_two_per_cent_apart_are_ties(repeatability: ModuleType) -> None:
    # of three pairs, one is tied in both passes: 2 agreeing of 2 comparable ones
    assert repeatability.tau_b([100, 101, 200], [101, 100, 200]) == pytest.approx(1)
    # tied in the first pass only
    assert repeatability.tau_b([100, 101, 200], [103, 100, 200]) == pytest.approx(2 / math.sqrt(2 * 3))
    assert repeatability.tau_b([1, 2, 3], [3, 2, 1]) == -1


def test_summary(repeatability: ModuleType, tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    values = ([1.0, 2.0, 4.0], [1.1, 2.0, 3.9], [0.9, 4.5, 4.1])
    passes = [{str(file): value for file, value in zip(files, column, strict=True)} for column in values]
    found = repeatability.summarise(passes, files)
    taus = [repeatability.tau_b(a, b) for a, b in itertools.combinations(values, 2)]
    assert found["tau_mean"] == pytest.approx(sum(taus) / 3)
    assert found["tau_min"] == min(taus) < 1
    assert found["spread_max"] == pytest.approx(math.sqrt((2 * (5 / 6) ** 2 + (5 / 3) ** 2) / 2) / (17 / 6))
    assert (found["fastest_ms"], found["slowest_ms"]) == (0.9, 4.5)


def test_synthetic_evaluations_are_the_same_every_time_and_say_what_they_are(tmp_path: Path) -> None:
    from nas.candidate import sample
    from nas.tasks import Task
    from search_spaces.spaces import Pick

    synthetic = load("synthetic")
    study = synthetic.synthetic_study(tmp_path, ["search.trials=3"])
    candidate = sample(Pick(random.Random(0).choice), study.space, study.compression, input_channels=1)
    task = Task(0, candidate, "search", 0, 30, tmp_path)
    first, again = synthetic.evaluate(task, study), synthetic.evaluate(task, study)
    assert first == again
    assert first.accuracy_source == "simulated"
    assert first.measurement.parameters == candidate.parameters(10)
    assert first.measurement.macs == candidate.macs(10)
    assert first.measurement.latency["cpu"].protocol == "invented"
    assert study.search.trials == 3
