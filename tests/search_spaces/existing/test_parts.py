"""Layers and parts of an existing network: shapes, parameters and multiply-accumulates as torch counts them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from drafts import DRAFTS, Draft, drafts, perceptron
from hypothesis import given, settings
from torch import nn

from search_spaces.existing.blueprint import INPUT, Blueprint
from search_spaces.existing.building import ExistingNetwork
from search_spaces.existing.executed import folded_norms, layers_in
from search_spaces.existing.groups import groups_of
from search_spaces.existing.parts import layers_of, parts_of
from search_spaces.layers import LayerSpec

SIZE, CLASSES = 8, 10


def counted(blueprint: Blueprint) -> dict[str, tuple[int, int]]:
    """Weights and multiply-accumulates of each layer, by hooks on the torch modules."""
    network, found = ExistingNetwork(blueprint, CLASSES).eval(), dict[str, tuple[int, int]]()

    def hook(path: str) -> Any:
        def count(module: nn.Module, _: object, out: torch.Tensor) -> None:
            weights = module.weight.numel()
            found[path] = weights, found.get(path, (0, 0))[1] + weights * out[0, 0].numel()

        return count

    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            module.register_forward_hook(hook(path))
    network(torch.zeros(1, blueprint.input_channels, SIZE, SIZE))
    return found


def check_counts(blueprint: Blueprint) -> None:
    layers, found = layers_of(blueprint, SIZE, num_classes=CLASSES), counted(blueprint)
    folded = folded_norms(blueprint)
    assert {layer.name: (layer.weight_count, layer.macs) for layer in layers} == {
        path: counts for path, counts in found.items() if path not in folded
    }


@pytest.mark.parametrize("name", DRAFTS)
def test_weights_and_macs_are_torchs(name: str) -> None:
    check_counts(DRAFTS[name]())


@given(blueprint=drafts())
@settings(max_examples=40, deadline=None)
def test_weights_and_macs_of_random_networks(blueprint: Blueprint) -> None:
    check_counts(blueprint)


def test_kinds_and_places() -> None:
    layers = {layer.name: layer for layer in layers_of(DRAFTS["squeezed"](), SIZE, num_classes=CLASSES)}
    part = "features.1"
    assert layers["features.1.block.0.0"] == LayerSpec("features.1.block.0.0", part, "pointwise", 4, 12, 1, 1, 8, 8)
    assert layers["features.1.block.1.0"] == LayerSpec("features.1.block.1.0", part, "depthwise", 12, 12, 3, 1, 8, 8)
    assert layers["features.1.block.2.fc1"] == LayerSpec("features.1.block.2.fc1", part, "pointwise", 12, 3)
    expected = LayerSpec("features.3.0", "features.3", "conv", 16, 24, 3, 1, 8, 8, split=4)
    assert layers["features.3.0"] == expected
    assert layers["classifier"] == LayerSpec("classifier", "classifier", "linear", 24, 10)


def test_a_batch_norm_of_no_convolution_is_a_layer() -> None:
    layers = {layer.name: layer for layer in layers_of(DRAFTS["dense"](), SIZE, num_classes=CLASSES)}
    norm = layers["features.denseblock1.denselayer2.norm1"]
    assert norm == LayerSpec(norm.name, "features.denseblock1.denselayer2", "depthwise", 7, 7, 1, 1, 8, 8)
    assert (norm.parameters, norm.macs) == (14, 7 * 64)
    assert "features.conv0.1" not in layers
    # The one inside the dense layer stands behind a convolution of its own.
    assert "features.denseblock1.denselayer2.norm2" not in layers


def test_a_layer_that_is_run_twice_stands_once_and_counts_twice() -> None:
    layers = layers_of(DRAFTS["shared"](), SIZE, num_classes=CLASSES)
    assert [(layer.name, layer.again, layer.runs_again) for layer in layers] == [
        ("first", (), False), ("again", (16,), True), ("fc", (), False),
    ]  # fmt: skip
    assert layers[1].macs == 6 * 6 * 9 * (64 + 16)


def test_a_norm_is_folded_only_where_nothing_else_reads_its_convolution() -> None:
    draft = Draft()
    x = draft.conv("body", INPUT, 4)
    blueprint = draft.done(draft.add("add", draft.norm("norm", x), x))
    assert folded_norms(blueprint) == {}
    assert [node.path for node in layers_in(blueprint)] == ["body", "norm", "fc"]
    assert folded_norms(DRAFTS["residual"]())["layer2.0.downsample.1"] == "layer2.0.downsample.0"


def test_a_norm_is_folded_through_what_does_nothing_and_a_second_one_is_a_layer() -> None:
    draft = Draft()
    x = draft.add("dropout", draft.conv("body", INPUT, 4), p=0.5)
    blueprint = draft.done(draft.norm("second", draft.norm("first", x)))
    assert folded_norms(blueprint) == {"first": "body"}
    assert [node.path for node in layers_in(blueprint)] == ["body", "second", "fc"]


def test_no_norm_is_folded_into_a_layer_that_is_run_twice() -> None:
    draft = Draft()
    x = draft.norm("norm", draft.conv("body", draft.conv("stem", INPUT, 4), 4))
    x = draft.conv("body_1", x, 4, module="body")
    assert [layer.name for layer in layers_of(draft.done(x), SIZE, num_classes=2)] == ["stem", "body", "norm", "fc"]


def test_layers_of_a_single_channel_are_no_depthwise_ones() -> None:
    draft = Draft(channels=1)
    x = draft.conv("seen", draft.conv("grown", INPUT, 1), 4, kernel=1)
    kinds = [
        layer.kind for layer in layers_of(draft.done(draft.norm("fc0", draft.add("relu", x))), SIZE, num_classes=2)
    ]
    assert kinds == ["conv", "pointwise", "depthwise", "linear"]


def test_a_convolution_of_one_pixel_in_groups_or_with_a_margin_is_no_pointwise_one() -> None:
    draft = Draft()
    x = draft.conv("split", draft.conv("stem", INPUT, 4), 4, kernel=1, split=2)
    fields: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "groups": 1, "bias": False, "dilation": [1, 1]}
    fields |= {"kernel_size": [1, 1], "stride": [1, 1], "padding": [1, 1]}
    layers = layers_of(draft.done(draft.add("conv", x, name="margin", **fields)), SIZE, num_classes=2)
    assert [(layer.kind, layer.split, layer.padding) for layer in layers[1:3]] == [
        ("conv", 2, None),
        ("conv", 1, (1, 1)),
    ]
    assert layers[2].output_map == (10, 10)


def test_sides_that_differ() -> None:
    draft = Draft()
    fields: dict[str, Any] = {"in_channels": 3, "out_channels": 3, "groups": 3, "bias": False, "dilation": [1, 2]}
    fields |= {"kernel_size": [3, 1], "stride": [2, 1], "padding": [1, 0]}
    blueprint = draft.done(draft.add("conv", INPUT, name="body", **fields))
    layer = layers_of(blueprint, SIZE, num_classes=CLASSES)[0]
    expected = LayerSpec("body", "body", "depthwise", 3, 3, 3, 2, 8, 4, wide=(1, 1, 8, 8), dilation=(1, 2))
    assert layer == expected
    fields |= {"padding": [0, 0], "groups": 1}
    draft = Draft()
    draft.add("conv", INPUT, name="body", **fields)
    layer = layers_of(draft.done("body"), SIZE, num_classes=CLASSES)[0]
    assert (layer.kind, layer.padding, layer.paddings, layer.output_map) == ("conv", (0, 0), (0, 0), (3, 8))


def test_parts_are_the_layers_in_order_with_their_edges() -> None:
    parts = parts_of(DRAFTS["residual"](), SIZE, num_classes=CLASSES)
    assert [(part.name, part.is_edge) for part in parts] == [
        ("conv1", True), ("layer1.0", False), ("layer1.1", False), ("layer2.0", False), ("fc", True),
    ]  # fmt: skip
    layers = tuple(layer for part in parts for layer in part.layers)
    assert layers == layers_of(DRAFTS["residual"](), SIZE, num_classes=CLASSES)
    assert all(layer.block == part.name for part in parts for layer in part.layers)


def test_equal_parts_are_one_object() -> None:
    """So that what is worked out of a part is found again."""
    blueprint = DRAFTS["residual"]()
    whole = parts_of(blueprint, SIZE, num_classes=CLASSES)
    cut = parts_of(blueprint, SIZE, num_classes=CLASSES, kept={"layer1.1.conv1.width": 2})
    assert [one is other for one, other in zip(whole, cut, strict=True)] == [True, True, False, True, True]
    assert [layer.out_channels for layer in cut[2].layers] == [2, 6]


def test_an_activation_is_the_parts_own() -> None:
    draft = Draft()
    x = draft.add("hardswish", draft.conv("a", INPUT, 4))
    x = draft.add("relu6", draft.conv("b", x, 4))
    x = draft.add("tanh", draft.conv("c", x, 4))
    parts = parts_of(draft.done(x), SIZE, num_classes=CLASSES)
    assert [part.activation for part in parts] == ["hardswish", "relu6", "relu", "relu"]


def test_widths_of_convolutions_in_groups_and_behind_a_flattened_map() -> None:
    kept = {"features.2.0.width": 3}
    layers = {one.name: one for one in layers_of(DRAFTS["squeezed"](), SIZE, num_classes=CLASSES, kept=kept)}
    assert (layers["features.2.0"].in_channels, layers["features.2.0"].out_channels) == (4, 12)
    split = layers["features.3.0"]
    assert (split.in_channels, split.out_channels, split.groups, layers["classifier"].in_channels) == (12, 18, 3, 18)
    kept = {"features.1.block.0.0.width": 5}
    layers = {one.name: one for one in layers_of(DRAFTS["squeezed"](), SIZE, num_classes=CLASSES, kept=kept)}
    part = "features.1"
    assert layers["features.1.block.1.0"] == LayerSpec("features.1.block.1.0", part, "depthwise", 5, 5, 3, 1, 8, 8)
    kept = {"features.2.width": 5}
    layers = {one.name: one for one in layers_of(DRAFTS["flattened"](), SIZE, num_classes=CLASSES, kept=kept)}
    assert (layers["features.2"].out_channels, layers["classifier.0"].in_channels) == (5, 80)
    kept = {"0.width": 5}
    assert [one.parameters for one in layers_of(perceptron(), 28, num_classes=CLASSES, kept=kept)] == [785 * 5, 60]


def test_all_but_one_channel_of_each_group_may_go() -> None:
    for name, draft in DRAFTS.items():
        kept = {group.name: 1 for group in groups_of(draft(), SIZE)}
        assert all(
            min(one.in_channels, one.out_channels) > 0 for one in layers_of(draft(), SIZE, num_classes=2, kept=kept)
        ), name
