"""Spaces: presets, what is asked for, and wrong spaces refused with the key."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from search_spaces.architecture import Architecture
from search_spaces.block_configs import ShuffleConfig
from search_spaces.block_spaces import BlockSpace
from search_spaces.kinds import KINDS
from search_spaces.spaces import PRESETS, MixedSpace, MobileSpace
from search_spaces.trials import Pick, Replay, first, last, middle

OWN: dict[str, Any] = {
    "input_size": 8,
    "stem_widths": [8],
    "stages": [{"depths": [1], "widths": [8, 16], "stride": 2}],
    "head_widths": [16],
}


def space(**fields: Any) -> MobileSpace:
    return MobileSpace.model_validate(fields)


def drawn(preset: str, pick: Callable[[Any], Any]) -> Architecture:
    return space(preset=preset).sample(Pick(pick), input_channels=3)


def parameters(architecture: Architecture) -> int:
    return sum(layer.parameters for layer in architecture.layers(10))


def test_presets_are_those_the_file_may_name() -> None:
    annotation = MobileSpace.model_fields["preset"].annotation
    assert set(get_args(get_args(annotation)[0])) == set(PRESETS)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_are_named_after_their_input(preset: str) -> None:
    architecture = drawn(preset, first)
    assert f"{architecture.input_size}px" == preset
    assert architecture.input_channels == 3
    assert architecture.input_size // architecture.stride >= 2


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_smallest_middle_largest(preset: str) -> None:
    sizes = [parameters(drawn(preset, pick)) for pick in (first, middle, last)]
    assert sizes[0] < sizes[1] < sizes[2]


@given(st.sampled_from(sorted(PRESETS)), st.integers(0, 2**32))
def test_every_draw_lies_between_first_and_last(preset: str, seed: int) -> None:
    size = parameters(drawn(preset, random.Random(seed).choice))
    assert parameters(drawn(preset, first)) <= size <= parameters(drawn(preset, last))


def test_what_is_given_wins_over_the_preset() -> None:
    own = space(preset="32px", kernels=[3], input_size=64)
    assert (own.kernels, own.input_size, own.stem_widths) == ((3,), 64, PRESETS["32px"]["stem_widths"])


def test_input_may_be_as_small_as_the_stride() -> None:
    stages = [{"depths": [1], "widths": [8], "stride": 2}] * 3
    assert space(**{**OWN, "stages": stages}).stride == OWN["input_size"]


def test_sample_builds_what_was_answered() -> None:
    genes = {
        "stem.width": 8,
        "stage1.depth": 1,
        "stage1.width": 16,
        "stage1.block1.kernel": 5,
        "stage1.block1.expansion": 4,
        "stage1.block1.squeeze_excite": True,
        "stage1.block1.activation": "hardswish",
        "head.width": 16,
    }
    architecture = space(**OWN).sample(Replay(genes), input_channels=1)
    assert architecture.model_dump() == {
        "input_size": 8,
        "input_channels": 1,
        "stem": {"width": 8, "stride": 1, "activation": "relu"},
        "stages": (
            {
                "width": 16,
                "stride": 2,
                "blocks": (
                    {
                        "kind": "inverted_residual",
                        "kernel": 5,
                        "expansion": 4,
                        "squeeze_excite": True,
                        "activation": "hardswish",
                    },
                ),
            },
        ),
        "head": {"width": 16, "activation": "relu"},
    }
    with pytest.raises(ValueError, match=r"gene stage1\.width: expected one of \[8, 16\], got 24"):
        space(**OWN).sample(Replay({**genes, "stage1.width": 24}), input_channels=1)


def test_count_of_a_small_space() -> None:
    own = space(**{**OWN, "stages": [{"depths": [1, 2], "widths": [8, 16]}]}, kernels=[3], activations=["relu"])
    blocks = own.block_spaces()["inverted_residual"].configs("inverted_residual")
    assert len(blocks) == 5 * 2
    assert own.count(lambda firsts, others, depth: len(firsts) * len(others) ** (depth - 1), bool) == 2 * (10 + 10**2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stem_widths": [12]}, r"stem_widths: expected multiples of width_grid 8, got \[12\]"),
        ({"width_grid": 16, "stem_widths": [16]}, r"stages\[0\].widths: expected multiples of width_grid 16"),
        ({"head_widths": [20]}, r"head_widths: expected multiples of width_grid 8, got \[20\]"),
        ({"kernels": [3, 3]}, r"kernels: every choice once, got \[3, 3\]"),
        ({"activations": ["relu", "relu"]}, r"activations: every choice once"),
        ({"expansions": [4, 2]}, r"expansions: expected ascending order, got \[4, 2\]"),
        ({"squeeze_excite": [True, False]}, r"squeeze_excite: expected ascending order"),
        (
            {"stages": [{"depths": [1], "widths": [8], "stride": 2}] * 4},
            "input_size: expected at least the total stride 16, got 8",
        ),
        (
            {"stages": [{"depths": [1], "widths": [8], "stride": 2}] * 3, "stem_stride": 2},
            "total stride 16, got 8",
        ),
        ({"kernels": [4]}, "kernels.0"),
        ({"stages": []}, "stages"),
        ({"head_widths": []}, "head_widths"),
        ({"colour": 1}, "colour"),
        ({"preset": {"a": 1}}, "preset"),
    ],
)
def test_wrong_spaces_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        space(**{**OWN, **fields})


# Several kinds of blocks.

NOT_FOR_IT = r"blocks.residual.squeeze_excite: expected \[false\] \(only for inverted_residual\), got \[true\]"
SMALL = {
    "family": "mixed",
    "input_size": (8, 16),
    "stem_widths": (8,),
    "stages": ({"depths": (1, 2), "widths": (8, 16), "stride": 1},),
    "head_widths": (0, 16),
    "blocks": {
        "inverted_residual": {"kernels": (3,), "expansions": (1, 2)},
        "residual": {"kernels": (3,), "expansions": (1,)},
        "shuffle": {"kernels": (3,), "expansions": (1,)},
    },
}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"blocks": {"residual": {"kernels": (3,), "expansions": (1,), "squeeze_excite": (True,)}}}, NOT_FOR_IT),
        ({"blocks": {"residual": {"kernels": (5, 3), "expansions": (1,)}}}, r"blocks.residual.kernels: expected asc"),
        ({"stages": ({"depths": (1,), "widths": (8,), "families": ("fused_inverted_residual",)},)},
         r"stages\[0\].families: expected some of"),
        ({"input_size": (16, 8)}, "input_size: expected ascending order"),
        ({"blocks": {}}, "at least 1 item"),
    ],
)  # fmt: skip
def test_impossible_mixed_spaces_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MixedSpace.model_validate({**SMALL, **fields})


def test_a_stage_may_narrow_kinds_and_expansions() -> None:
    stages = ({"depths": (2,), "widths": (8,), "families": ("inverted_residual",), "expansions": (2,)},)
    space = MixedSpace.model_validate({**SMALL, "stages": stages})
    for seed in range(8):
        blocks = space.sample(Pick(random.Random(seed).choice), input_channels=3).stages[0].blocks
        assert {(block.kind, block.expansion) for block in blocks} == {("inverted_residual", 2)}


def test_an_input_size_is_searched_where_there_are_several() -> None:
    genes = {"stem.width": 8, "stage1.family": "shuffle", "stage1.depth": 1, "stage1.width": 16, "head.width": 0}
    genes |= {f"stage1.block1.shuffle.{gene}": value for gene, value in
              (("kernel", 3), ("expansion", 1), ("activation", "relu"))}  # fmt: skip
    architecture = MixedSpace.model_validate(SMALL).sample(Replay({**genes, "input_size": 16}), input_channels=3)
    assert (architecture.input_size, architecture.head) == (16, None)
    assert architecture.stages[0].blocks == (ShuffleConfig(kind="shuffle", kernel=3),)


def test_of_one_kind_keeps_stages_that_have_no_choice() -> None:
    stages = (
        {"depths": (1,), "widths": (8,)},
        {"depths": (1,), "widths": (8,), "families": ("inverted_residual",)},
    )
    kinds = MixedSpace.model_validate({**SMALL, "stages": stages}).of_one_kind()
    named = [tuple(block.kind for stage in k.sample(Pick(min), input_channels=3).stages for block in stage.blocks)
             for k in kinds]  # fmt: skip
    assert named == [
        ("inverted_residual", "inverted_residual"),
        ("residual", "inverted_residual"),
        ("shuffle", "inverted_residual"),
    ]


def test_kinds_of_a_mixed_space_that_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its row's lists, in the table's order; a row without lists is left out."""
    mixed = {"family": "mixed", "preset": "8px"}
    expected = {name: BlockSpace(**kind.defaults) for name, kind in KINDS.items() if kind.defaults is not None}
    found = MixedSpace.model_validate(mixed).blocks
    assert list(found) == ["residual", "fused_inverted_residual", "inverted_residual", "shuffle"]
    assert found == expected
    monkeypatch.setitem(KINDS, "residual", dataclasses.replace(KINDS["residual"], defaults=None))
    assert list(MixedSpace.model_validate(mixed).blocks) == list(found)[1:]
