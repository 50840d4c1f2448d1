"""Flows: what they say of a block against a trace of its module."""

from __future__ import annotations

import pytest

from nas.testing import traced
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_spaces import BlockSpace
from search_spaces.flows import FLOWS, INPUT, Flow, of_classifier, of_head, of_stem
from search_spaces.kinds import KINDS
from search_spaces.network import build_block, build_network
from search_spaces.sites import BlockSite

CHOICES = BlockSpace(
    kernels=(3,), expansions=(1, 2), squeeze_excite=(False, True), activations=("relu", "relu6", "hardswish")
)


@pytest.mark.parametrize("keeps_shape", [True, False])
@pytest.mark.parametrize("kind", FLOWS)
def test_every_block_does_what_its_module_does(kind: str, *, keeps_shape: bool) -> None:
    for config in CHOICES.configs(kind):
        site = BlockSite("stage1.block1", config, 16, 16 if keeps_shape else 24, 1, 8)
        flow = Flow()
        FLOWS[kind](flow, config, site.keeps_shape)
        assert [operation[:3] for operation in flow] == traced(build_block(site))


def test_there_is_a_flow_of_every_kind() -> None:
    assert FLOWS.keys() == KINDS.keys()


@pytest.mark.parametrize("head", [HeadConfig(width=16, activation="hardswish"), None])
def test_the_ends_of_a_network(head: HeadConfig | None) -> None:
    block = CHOICES.configs("residual")[0]
    architecture = Architecture(
        input_size=8,
        input_channels=3,
        stem=StemConfig(width=8, activation="relu6"),
        stages=(StageConfig(width=8, stride=1, blocks=(block,)),),
        head=head,
    )
    own = Flow()
    FLOWS["residual"](own, block, True)
    ends = [("stem", of_stem("relu6")), ("stage1.block1", own)]
    ends += [("head", of_head("hardswish"))] if head is not None else []
    joined: list[tuple[str, tuple[int, ...], str]] = []
    for part, flow in [*ends, ("classifier", of_classifier())]:
        before = len(joined)
        for operation in flow:
            reads = tuple(before - 1 if read == INPUT else before + read for read in operation.reads)
            layer = f"{part}.{operation.layer}".rstrip(".") if operation.op == "layer" else ""
            joined.append((operation.op, reads, layer))
    assert joined == traced(build_network(architecture, 10, seed=0))
