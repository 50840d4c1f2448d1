"""The benchmarks can be imported as when one of them is run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "studies" / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports one by name, with its neighbours; helpers of tests that are named alike come back afterwards."""
    names = {path.stem for path in BENCHMARKS.glob("*.py")}
    for name in names & set(sys.modules):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield import_module
    for name in names & set(sys.modules):
        del sys.modules[name]
