"""Shapes of nodes: as torch has them, and one line where an image or a layer does not fit."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from drafts import DRAFTS, Draft, drafts, perceptron
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from search_spaces.existing.blueprint import INPUT, Blueprint
from search_spaces.existing.building import ExistingNetwork
from search_spaces.existing.shapes import Unfit, shapes_of

WINDOWS: dict[str, tuple[type[nn.Module], bool]] = {
    "conv": (nn.Conv2d, False),
    "max_pool": (nn.MaxPool2d, True),
    "average_pool": (nn.AvgPool2d, True),
}


def ending(draft: Draft, read: str) -> Blueprint:
    """A network of which only the node `read` matters."""
    draft.flatten(draft.pooled(draft.add("conv", read, name="fc", shape=(1, 1), **CONV, in_channels=3)))
    return draft.done()


PAIRS = {"kernel_size": [1, 1], "stride": [1, 1], "padding": [0, 0]}
CONV: dict[str, Any] = {**PAIRS, "dilation": [1, 1], "out_channels": 1, "groups": 1, "bias": True}


@pytest.mark.parametrize("op", WINDOWS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_windows_are_counted_as_torch_counts_them(op: str, data: st.DataObject) -> None:
    """Height and width differ; an image that torch refuses is refused."""
    module, pools = WINDOWS[op]
    kernel = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(data.draw(st.integers(0, side // 2)) for side in kernel)
    fields: dict[str, Any] = {"kernel_size": kernel, "padding": padding}
    fields["stride"] = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    fields |= {"ceil_mode": data.draw(st.booleans())} if pools else {"in_channels": 3, "out_channels": 3, "groups": 1}
    fields |= {} if op == "average_pool" else {"dilation": data.draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))}
    size = data.draw(st.integers(1, 9))
    draft = Draft(size=size)
    listed = {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}
    node = draft.add(op, INPUT, name="window", **listed)
    try:
        expected = module(**fields)(torch.zeros(1, 3, size, size)).shape[1:]
    except RuntimeError:
        with pytest.raises(Unfit, match=rf"window \({op}\): expected a map of at least"):
            shapes_of(ending(draft, node), size)
        return
    assert shapes_of(ending(draft, node), size)["window"] == tuple(expected)


@given(blueprint=drafts(), size=st.integers(1, 12), classes=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_a_network_gives_what_is_foretold_or_refuses_too(blueprint: Blueprint, size: int, classes: int) -> None:
    network = ExistingNetwork(blueprint, classes).eval()
    images = torch.zeros(2, blueprint.input_channels, size, size)
    try:
        logits = network(images)
    except RuntimeError:
        with pytest.raises(Unfit, match=f"from images of {blueprint.input_channels}x{size}x{size}"):
            shapes_of(blueprint, size, classes)
        return
    assert shapes_of(blueprint, size, classes)[blueprint.nodes[-1].name] == tuple(logits.shape[1:])


@pytest.mark.parametrize("name", DRAFTS)
def test_every_module_of_the_known_networks(name: str) -> None:
    """Shapes by hooks on the modules."""
    blueprint = DRAFTS[name]()
    network, seen = ExistingNetwork(blueprint, 3).eval(), dict[str, list[tuple[int, ...]]]()
    for path, module in network.named_modules():
        module.register_forward_hook(
            lambda _, __, out, path=path: seen.setdefault(path, []).append(tuple(out.shape[1:]))  # type: ignore[misc]
        )
    network(torch.zeros(1, blueprint.input_channels, 8, 8))
    shapes, runs = shapes_of(blueprint, 8, 3), dict[str, list[tuple[int, ...]]]()
    for node in blueprint.nodes:
        if node.path in seen:
            runs.setdefault(node.path, []).append(shapes[node.name])
    assert runs == {path: seen[path] for path in runs}
    assert len(runs) > 3


def test_images_of_another_size_than_a_flattened_map_allows() -> None:
    said = r"classifier.0 (linear): expected 112 features, got 448, from images of 3x16x16"
    with pytest.raises(Unfit, match=f"^{re.escape(said)}$"):
        shapes_of(DRAFTS["flattened"](), 16)
    with pytest.raises(Unfit, match=r"^0 \(linear\): expected 784 features, got 64, from images of 1x8x8$"):
        shapes_of(perceptron(), 8)


def test_a_head_of_one_column_per_class() -> None:
    assert shapes_of(perceptron(), 28, 10)["2"] == (10,)
    assert shapes_of(DRAFTS["fire"](), 8, 10)["classifier.1"] == (10, 8, 8)


@pytest.mark.parametrize(
    ("op", "channels", "sizes", "said"),
    [
        ("add", (4, 5), (8, 8), r"add_\d \(add\): expected two of the same channels, got 4x8x8 and 5x8x8"),
        ("multiply", (4, 4), (8, 4), r"multiply_\d \(multiply\): expected maps of one size, or of a single pixel, got"),
        (
            "concatenate",
            (4, 4),
            (8, 4),
            r"concatenate_\d \(concatenate\): expected maps of one size, got 4x8x8 and 4x",
        ),
    ],
)
def test_what_does_not_fit_together(op: str, channels: tuple[int, int], sizes: tuple[int, int], said: str) -> None:
    draft = Draft()
    pairs = zip("ab", channels, sizes, strict=True)
    sides = [draft.conv(name, INPUT, width, stride=8 // size) for name, width, size in pairs]
    with pytest.raises(Unfit, match=f"^{said}.*, from images of 3x8x8$"):
        shapes_of(draft.done(draft.add(op, *sides)), 8)


def test_a_single_pixel_meets_all_of_a_map() -> None:
    draft = Draft()
    joined = draft.add("multiply", draft.pooled(INPUT), INPUT, shape=(3, 8))
    assert shapes_of(draft.done(joined), 8)[joined] == (3, 8, 8)


@pytest.mark.parametrize("channels", [[0, 3], [-1], []])
def test_a_selection_of_what_is_not_there(channels: list[int]) -> None:
    draft = Draft()
    with pytest.raises(Unfit, match=rf"select_0 \(select\): expected channels 0..2, got {re.escape(str(channels))}"):
        shapes_of(draft.done(draft.select(INPUT, channels)), 8)


def test_a_layer_of_other_channels() -> None:
    draft = Draft()
    node = draft.add("conv", INPUT, name="body.0", shape=(1, 8), **CONV, in_channels=4)
    with pytest.raises(Unfit, match=r"^body.0 \(conv\): expected 4 channels, got 3, from"):
        shapes_of(draft.done(node), 8)
    with pytest.raises(Unfit, match=r"^fc \(linear\): expected features, one row per image, got a map of 3x8x8: flat"):
        shapes_of(_unflattened(), 8)


def _unflattened() -> Blueprint:
    draft = Draft()
    draft.linear("fc", INPUT, 1)
    return draft.done()


def test_a_network_that_ends_in_a_map() -> None:
    draft = Draft()
    draft.conv("fc", INPUT, 1)
    with pytest.raises(Unfit, match=r"^fc: expected one number per class in the end, \(4,\), got 4x8x8$"):
        shapes_of(draft.done(), 8, 4)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("kernel_size", 3, "expected whole numbers, got 3"),
        ("kernel_size", [3], r"expected height and width, got \[3\]"),
        ("stride", [1, 0.5], "expected whole numbers, got"),
        ("in_channels", True, "expected a whole number, got True"),
        ("out_channels", None, "expected a whole number, got None"),
    ],
)
def test_a_field_that_is_no_number(key: str, value: object, said: str) -> None:
    draft = Draft()
    node = draft.add("conv", INPUT, name="body.0", shape=(1, 8), **{**CONV, "in_channels": 3, key: value})
    with pytest.raises(ValueError, match=rf"^body.0.{key}: {said}"):
        shapes_of(draft.done(node), 8)
