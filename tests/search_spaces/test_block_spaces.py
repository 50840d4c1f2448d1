"""The freedom of a kind of block: which fields are searched, in which order, and which lists it does not have."""

from __future__ import annotations

import pytest

from search_spaces.block_configs import InvertedResidualConfig
from search_spaces.block_spaces import BlockSpace

FREE = BlockSpace(
    kernels=(3, 5), expansions=(1, 2), squeeze_excite=(False, True), activations=("relu", "relu6", "hardswish")
)


def test_fields_are_asked_for_in_order() -> None:
    assert FREE.choices("inverted_residual") == {
        "kernel": (3, 5),
        "expansion": (1, 2),
        "squeeze_excite": (False, True),
        "activation": ("relu", "relu6", "hardswish"),
    }
    assert list(FREE.choices("inverted_residual")) == ["kernel", "expansion", "squeeze_excite", "activation"]
    assert list(FREE.choices("residual")) == ["kernel", "expansion", "activation"]


def test_a_stage_may_have_expansions_of_its_own() -> None:
    assert FREE.choices("shuffle", (2,))["expansion"] == (2,)
    assert {config.expansion for config in FREE.configs("shuffle", (2,))} == {2}


@pytest.mark.parametrize(("kind", "count"), [("inverted_residual", 2 * 2 * 2 * 3), ("residual", 2 * 2 * 3)])
def test_every_record_once(kind: str, count: int) -> None:
    configs = FREE.configs(kind)
    assert len(configs) == len(set(configs)) == count
    assert all(config.kind == kind for config in configs)


def test_the_first_and_the_last_record() -> None:
    configs = FREE.configs("inverted_residual")
    assert configs[0] == InvertedResidualConfig(kernel=3, expansion=1)
    assert configs[-1] == InvertedResidualConfig(kernel=5, expansion=2, squeeze_excite=True, activation="hardswish")


def test_lists_that_a_kind_does_not_have() -> None:
    assert list(FREE.unknown_to("inverted_residual")) == []
    assert list(FREE.unknown_to("residual")) == ["squeeze_excite"]
    assert list(BlockSpace(kernels=(3,), expansions=(1,)).unknown_to("residual")) == []


def test_a_plain_block_has_no_expansion() -> None:
    assert list(FREE.choices("plain", (4,))) == ["kernel", "activation"], "a stage's own expansions are none of its"
    assert list(FREE.unknown_to("plain")) == ["expansions", "squeeze_excite"]
    assert list(BlockSpace(kernels=(3,)).unknown_to("plain")) == []
