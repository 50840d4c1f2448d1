"""The benchmark of an ask: it asks, and tells whose time it was."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from nas.samplers.spaces.recording import UnitTrial

Import = Callable[[str], ModuleType]


@pytest.fixture
def script(module: Import) -> ModuleType:
    return module("sampler_seconds")


def test_the_space_has_a_hundred_genes(script: ModuleType) -> None:
    trial = UnitTrial({}, salt=0.5)
    script.space(trial)
    assert list(trial.params) == list(script.GENES)
    assert len(trial.params) == 100 == len(script.features(trial.params))


def test_smaller_layers_cost_less_and_err_more(script: ModuleType) -> None:
    large = {gene: distribution.choices[-1] for gene, distribution in script.GENES.items()}
    large.update({gene: 0.0 for gene in large if gene.endswith("ratio")})
    small = {**large, **{gene: 2 for gene in large if gene.endswith("bits")}}
    (error, size, seconds), (more, less, faster) = script.values(large), script.values(small)
    assert error < more
    assert size > less
    assert seconds > faster


@pytest.mark.parametrize("learned", [1, 3])
def test_an_ask_is_timed_and_its_calls_are_counted(script: ModuleType, learned: int) -> None:
    found = script.measure(12, 1, learned)
    assert (found["trials"], found["asks"], found["learned"]) == (12, 1, learned)
    assert 500 < found["decoded_per_ask"] < 4000
    assert found["sampler_ms"] < found["ask_ms"]  # a difference of times: on a busy machine it may be below 0
