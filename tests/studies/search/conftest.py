"""The benchmark's modules can be imported as when one of its scripts is run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import optuna
import pytest

FOLDER = Path(__file__).parents[3] / "studies" / "benchmarks" / "search"


@pytest.fixture(scope="module")
def module() -> Iterator[Callable[[str], ModuleType]]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER.parent))
        patch.syspath_prepend(str(FOLDER))
        yield import_module
