"""What the benchmark of rungs says of accuracies made up for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

Module = Callable[[str], ModuleType]


def test_the_same_order_is_one_and_the_reverse_is_minus_one(module: Module) -> None:
    rungs = module("rungs")
    late = np.linspace(0.5, 0.9, 32)
    found = rungs.summary(late**3, late)
    assert found["tau"] == found["high"] == pytest.approx(1.0)
    assert found["best_kept"] == 1.0
    reverse = rungs.summary(-late, late)
    assert (reverse["tau"], reverse["best_kept"]) == (pytest.approx(-1.0), 0.0)


def test_tau_counts_pairs(module: Module) -> None:
    rungs = module("rungs")
    random = np.random.default_rng(0)
    early, late = random.permutation(12), random.permutation(12)
    signs = [np.sign((early[i] - early[j]) * (late[i] - late[j])) for i, j in itertools.combinations(range(12), 2)]
    found = rungs.summary(early, late)
    assert found["tau"] == pytest.approx(np.mean(signs))
    assert found["low"] <= found["tau"] <= found["high"]
