"""The table of kinds: what its rows refer to, how a block is read. `tests/test_block_kinds.py` tests every row."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from torch import nn

from search_spaces.block_configs import InvertedResidualConfig, ResidualConfig
from search_spaces.kinds import DEFAULT_KIND, KINDS, known_kind, read_block
from search_spaces.network import build_block
from search_spaces.sites import BlockSite


@pytest.mark.parametrize("kind", KINDS)
def test_rows_name_torch_modules_and_records_of_their_name(kind: str) -> None:
    row = KINDS[kind]
    module, _, name = str(row.module).partition(":")
    fields = {"kind": kind, "kernel": 3, **({"expansion": 1} if row.widens else {})}
    built = build_block(BlockSite("stage1.block1", read_block(fields), 8, 8, 1, 8))
    assert type(built) is getattr(import_module(module), name)
    assert isinstance(built, nn.Module)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kernel": 3, "expansion": 2}, InvertedResidualConfig(kernel=3, expansion=2)),
        ({"kind": "residual", "kernel": 5}, ResidualConfig(kind="residual", kernel=5)),
        (ResidualConfig(kind="residual", kernel=5), ResidualConfig(kind="residual", kernel=5)),
    ],
)
def test_a_block_is_read_by_its_kind(fields: Any, expected: Any) -> None:
    assert read_block(fields) == expected


def test_a_record_without_a_kind_is_an_inverted_residual() -> None:
    assert DEFAULT_KIND == "inverted_residual"
    assert read_block({"kernel": 3, "expansion": 1}).kind == DEFAULT_KIND


@pytest.mark.parametrize("kind", ["resnet", "", 3, None, ["residual"]])
def test_unknown_kinds_are_refused_with_those_there_are(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"expected one of residual, fused_inverted_residual, .* got"):
        known_kind(kind)
