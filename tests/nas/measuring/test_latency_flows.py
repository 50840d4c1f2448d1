"""Latency terms of networks that exist already, counted by hand."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from drafts import Draft, dense, residual, shuffled
from known_networks import architecture_of

from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.measuring.latency_terms import NOMINAL_NS, work_of
from search_spaces.existing.blueprint import INPUT, Blueprint


def terms_of(blueprint: Blueprint, plan: CompressionPlan | None = None) -> Mapping[str, float]:
    candidate = Candidate(architecture=architecture_of(blueprint), plan=plan or CompressionPlan())
    total = work_of(candidate, 10).total
    return {name: value for name, value in zip(NOMINAL_NS, total.tolist(), strict=True) if value}


def test_layers_additions_and_the_average_of_a_residual_network() -> None:
    found = terms_of(residual())
    assert found["conv/float/call"] == 7
    assert found["pointwise/float/call"] == 1
    assert found["linear/float/call"] == 1
    assert found["added/float/float/call"] == 3
    assert found["added/float/float/elements"] == 6 * 64 + 6 * 64 + 8 * 16
    assert found["averaged/float/float/elements"] == 8 * 16
    assert not [name for name in found if name.startswith(("cast/float", "cast/integer", "moved", "gate"))]


def test_formats_change_between_layers() -> None:
    found = terms_of(residual(), CompressionPlan(formats={"layer1.0.conv1": "int8"}))
    # what the layer reads becomes codes, and what the next one reads becomes floats again
    assert found["cast/float/integer/elements"] == found["cast/integer/float/elements"] == 6 * 64
    assert found["conv/integer/call"] == 1


def test_selections_and_concatenations_move_channels() -> None:
    found = terms_of(shuffled())
    assert found["moved/float/call"] == 2 * 4  # two halves, a concatenation and a shuffle in each unit
    assert found["moved/float/elements"] == 2 * 4 * 8 * 64  # each reads or writes all eight channels
    assert terms_of(dense())["moved/float/call"] == 3  # concatenations


def test_gates_pools_and_activations_count() -> None:
    draft = Draft()
    x = draft.add("hardswish", draft.conv("begin", INPUT, 8))
    x = draft.add("max_pool", x, shape=(8, 4), kernel_size=[2, 2], stride=[2, 2], padding=[0, 0], dilation=[1, 1],
                  ceil_mode=False)  # fmt: skip
    gates = draft.add("sigmoid", draft.conv("gate", draft.pooled(x), 8, kernel=1))
    found = terms_of(draft.done(draft.add("multiply", gates, x, shape=(8, 4))))
    assert found["hardswish/float/elements"] == 8 * 64 + 8
    assert found["regridded/float/elements"] == 8 * 64
    assert found["gate/float/elements"] == 8 * 16


@pytest.mark.parametrize("formats", [{}, {"a": "fp32", "fc": "int8"}])
def test_of_a_network_that_runs_a_layer_twice_its_layers_alone_count(formats: dict[str, str]) -> None:
    draft = Draft()
    x = draft.conv("again", draft.add("relu", draft.conv("a", INPUT, 3, bias=True)), 3, bias=True, module="a")
    candidate = Candidate(
        architecture=architecture_of(draft.done(x)), plan=CompressionPlan.model_validate({"formats": formats})
    )
    assert len(work_of(candidate, 10).kernels) == 2 + 1
