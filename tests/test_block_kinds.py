"""Every kind of block keeps its contract (`nas.testing`), and so does a toy kind that only this file knows: no code of
the package names it. The families of spaces, which hold one kind or several, are tested beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor, nn

from nas.candidates.candidate import Candidate
from nas.study import Study
from nas.testing import (
    BlockContract,
    check_genes,
    check_ids,
    check_integer_file,
    check_pruned_shapes,
    drawn,
    structure_of,
)
from search_spaces.block_configs import Activation, Positive, Record
from search_spaces.block_spaces import BlockSpace
from search_spaces.blocks import ACTIVATIONS
from search_spaces.kinds import KINDS, BlockKind, LayerRow
from search_spaces.spaces import AnySpace
from search_spaces.testing import CLASSES, freedom_of, space_of_kind

torch.set_num_threads(1)


class SeparableConfig(Record):
    """A toy kind: depthwise, pointwise to the inner width, squeeze-excite, pointwise; never a skip."""

    kind: Literal["separable"]
    kernel: Literal[3, 5, 7]
    expansion: Positive
    squeeze_excite: bool = False
    activation: Activation = "relu"


def separable_rows(config: SeparableConfig, keeps_shape: bool) -> Iterator[LayerRow]:
    yield LayerRow("spatial", "depthwise", "in", "in", config.kernel, "strided")
    yield LayerRow("widen", "pointwise", "in", "inner", at="output")
    if config.squeeze_excite:
        yield LayerRow("gate", "pointwise", "inner", "inner", at="pooled")
    yield LayerRow("project", "pointwise", "inner", "out", at="output")


class Separable(nn.Module):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        inner: int,
        kernel: int,
        stride: int,
        activation: Activation,
        is_gated: bool,
    ) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(in_channels, in_channels, kernel, stride, kernel // 2, groups=in_channels, bias=False)
        self.spatial_bn = nn.BatchNorm2d(in_channels)
        self.widen = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.widen_bn = nn.BatchNorm2d(inner)
        self.activation = ACTIVATIONS[activation]()
        self.is_gated = is_gated
        if is_gated:
            self.pool, self.gate, self.sigmoid = nn.AdaptiveAvgPool2d(1), nn.Conv2d(inner, inner, 1), nn.Hardsigmoid()
        self.project = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.widen_bn(self.widen(self.spatial_bn(self.spatial(x)))))
        if self.is_gated:
            x = x * self.sigmoid(self.gate(self.pool(x)))
        out: Tensor = self.project_bn(self.project(x))
        return out


SEPARABLE = BlockKind(
    config=SeparableConfig,
    rows=separable_rows,
    module=Separable,
    widens="out",
    adds_input=False,
    choices=("squeeze_excite",),
    arguments=lambda config, inner: {"is_gated": config.squeeze_excite},
    defaults={"kernels": (3,), "expansions": (1, 2)},
)


@pytest.fixture(scope="module", autouse=True)
def _toy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, "separable", SEPARABLE)
        yield


class TestResidual(BlockContract):
    kind = "residual"


class TestFusedInvertedResidual(BlockContract):
    kind = "fused_inverted_residual"


class TestInvertedResidual(BlockContract):
    kind = "inverted_residual"


class TestShuffle(BlockContract):
    kind = "shuffle"


class TestPlain(BlockContract):
    kind = "plain"


class TestToy(BlockContract):
    kind = "separable"


NAMES = [*KINDS, "separable"]


def test_there_is_a_contract_of_every_kind() -> None:
    assert {contract.kind for contract in BlockContract.__subclasses__()} >= set(NAMES)


def test_every_record_of_every_kind_is_another_structure() -> None:
    """Costs are cached by structure: blocks of two kinds may have layers of one shape and yet cost differently."""
    configs = [config for kind in NAMES for config in BlockSpace.model_validate(freedom_of(kind)).configs(kind)]
    assert len({structure_of(config) for config in configs}) == len(configs)


# Spaces of several kinds, and families.

SPACES: dict[str, dict[str, Any]] = {
    "family mobile": {"family": "mobile"},
    "family shuffle": {"family": "shuffle"},
    "family mixed": {"head_widths": (0, 32)},
    "searched size": {"input_size": (8, 12, 16)},
}
READER: TypeAdapter[AnySpace] = TypeAdapter(AnySpace)
space = pytest.mark.parametrize("space", SPACES)
seeds = pytest.mark.parametrize("seed", range(4))


@cache
def space_of(name: str) -> AnySpace:
    """A space of one kind of block, or one of the others."""
    if name in NAMES:
        return space_of_kind(name)
    return READER.validate_python({"family": "mixed", "preset": "8px", **SPACES[name]})


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    return drawn(space_of(draw(st.sampled_from([*NAMES, *SPACES]))), draw(st.integers(0, 2**32)))


@space
@seeds
def test_pruned_modules_have_the_shapes_of_the_closed_form(space: str, seed: int) -> None:
    check_pruned_shapes(drawn(space_of(space), seed))


@space
@seeds
def test_every_layer_runs_as_integers_and_says_what_torch_says(space: str, seed: int, tmp_path: Path) -> None:
    check_integer_file(drawn(space_of(space), seed), tmp_path / "model.onnx")


@space
def test_genes_have_the_same_choices_whenever_they_are_asked_and_columns(space: str) -> None:
    check_genes(space_of(space))


@given(candidates())
def test_ids_survive_json(candidate: Candidate) -> None:
    check_ids(candidate)


@settings(max_examples=50)
@given(candidates())
def test_groups_hold_every_axis_once_and_of_their_width(candidate: Candidate) -> None:
    architecture = candidate.architecture
    layers = {layer.name: layer for layer in architecture.layers(CLASSES)}
    members = [(member, group.width) for group in architecture.all_groups() for member in group.members]
    assert len({member for member, _ in members}) == len(members)
    for (name, axis), width in members:
        layer = layers[name.removesuffix("_bn")]
        assert (layer.out_channels, layer.in_channels)[axis] == width


@pytest.mark.parametrize("family", ["mobile", "shuffle", "mixed"])
def test_a_study_takes_every_family(family: str) -> None:
    fields = {"name": "x", "data": {"source": "digits"}, "space": {"family": family, "preset": "32px"}}
    study = Study.model_validate(fields, strict=True)
    assert Study.model_validate(study.model_dump()) == study
    assert study.space.family == family


def test_the_toy_is_one_of_the_kinds_of_a_mixed_space() -> None:
    by_default = [name for name, row in KINDS.items() if row.defaults is not None]
    assert by_default == [name for name in NAMES if name != "plain"]
    assert list(space_of("family mixed").block_spaces()) == by_default
    found = {block.kind for seed in range(40) for stage in drawn(space_of("family mixed"), seed).architecture.stages
             for block in stage.blocks}  # fmt: skip
    assert found == set(by_default)
