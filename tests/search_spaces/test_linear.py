"""Blocks without activations in closed form, against the torch modules that activations are removed from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from compressors.removal import remove_activations
from search_spaces.flows import INPUT, Flow
from search_spaces.kinds import KINDS, read_block
from search_spaces.layers import LayerSpec
from search_spaces.linear import flow_of, linear_flow, linear_part, merged_away, merges, own_activations, without
from search_spaces.network import build_block
from search_spaces.parts import Part
from search_spaces.sites import BlockSite

CONFIGS: list[dict[str, Any]] = [
    {"kind": "inverted_residual", "kernel": 3, "expansion": 4, "squeeze_excite": True},
    {"kind": "inverted_residual", "kernel": 5, "expansion": 1, "activation": "hardswish"},
    {"kind": "fused_inverted_residual", "kernel": 3, "expansion": 1},
    {"kind": "fused_inverted_residual", "kernel": 5, "expansion": 4, "activation": "relu6"},
    {"kind": "residual", "kernel": 3, "expansion": 2},
    {"kind": "shuffle", "kernel": 3, "expansion": 2},
    {"kind": "plain", "kernel": 3},
]
WIDTHS = [(8, 8, 1), (8, 24, 1), (16, 8, 2), (8, 64, 2)]


def site_of(config: dict[str, Any], widths: tuple[int, int, int]) -> BlockSite:
    return BlockSite("stage1.block1", read_block(config), *widths, 8)


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c['kind']}-{c.get('expansion')}")
def test_the_layers_are_those_of_the_module(config: dict[str, Any], widths: tuple[int, int, int]) -> None:
    site = site_of(config, widths)
    network = nn.Sequential()
    network.add_module("stem", nn.ReLU())
    network.add_module("stage1", nn.Sequential())
    network.get_submodule("stage1").add_module("block1", build_block(site))
    remove_activations(network, [site.name])
    found = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    layers = {layer.name: layer for layer in linear_part(Part(site.name, site.layers(), site)).layers}
    assert layers.keys() == found.keys()
    for name, layer in layers.items():
        conv = found[name]
        assert (layer.in_channels, layer.out_channels, layer.groups) == (
            conv.in_channels,
            conv.out_channels,
            conv.groups,
        )
        assert ((layer.kernel,) * 2, (layer.stride,) * 2) == (conv.kernel_size, conv.stride)
        if ".squeeze_excite." not in name:
            assert layer.output_size == -(-layer.input_size // layer.stride)
    network.eval()(torch.rand(1, widths[0], 8, 8))


def test_a_fused_block_that_narrows_becomes_one_layer() -> None:
    site = site_of(CONFIGS[3], (8, 24, 2))
    assert merges(site) == {"expand": "project"}
    assert list(merged_away(site)) == ["stage1.block1.expand"]
    (layer,) = linear_part(Part(site.name, site.layers(16, 8, 16), site)).layers  # pruned since
    assert layer == LayerSpec("stage1.block1.project", site.name, "conv", 8, 16, 5, 2, 8, 4)


def test_one_layer_is_not_larger_than_two() -> None:
    """8 -> 8 -> 64 with kernel 3: 576 + 8 + 512 + 64 parameters against 4 608 + 64."""
    assert merges(site_of(CONFIGS[2], (8, 64, 1))) == {}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c['kind']}-{c.get('expansion')}")
def test_activations_are_told_from_those_of_a_gate(config: dict[str, Any]) -> None:
    site = site_of(config, (8, 8, 1))
    flow = flow_of(site)
    expected = sum(type(m) in (nn.ReLU, nn.ReLU6, nn.Hardswish) for m in build_block(site).children())
    assert len(own_activations(site)) == expected
    left = [operation.op for operation in linear_flow(site)]
    gated = ["relu"] if config.get("squeeze_excite") else []
    assert [op for op in left if op in ("relu", "relu6", "hardswish")] == gated
    assert len(left) == len(flow) - expected - len(merges(site))


def test_a_kind_whose_flow_is_not_known_has_no_known_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    site = BlockSite("stage1.block1", read_block({"kind": "plain", "kernel": 7}), 4, 4, 1, 8)
    monkeypatch.delitem(KINDS, "plain")
    monkeypatch.setattr("search_spaces.flows.FLOWS", {})
    assert own_activations(site) == ()


def test_without_an_operation_its_readers_read_what_it_read() -> None:
    flow = Flow()
    kept = flow.run("a", INPUT, "relu")
    flow.do("add", INPUT, flow.run("b", kept, "relu6"))
    left = without(flow, {1, 3})
    assert [(op.op, op.reads, op.layer) for op in left] == [
        ("layer", (INPUT,), "a"),
        ("layer", (0,), "b"),
        ("add", (INPUT, 1), ""),
    ]
