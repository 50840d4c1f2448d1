"""Which layers make up a part, in the ways in which torchvision's networks are written."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from drafts import DRAFTS, Draft, perceptron

from search_spaces.existing.blocks import block_names, node_blocks
from search_spaces.existing.blueprint import INPUT, Blueprint


def chained(paths: Sequence[str], joins: Sequence[tuple[str, str]] = ()) -> Blueprint:
    """Convolutions one behind the other; behind the second of each of `joins` what the first reads is added."""
    draft, x, read = Draft(), INPUT, dict[str, str]()
    for path in paths:
        read[path] = x
        x = draft.conv(path, x, 3)
        for first, last in joins:
            x = draft.add("add", x, read[first]) if path == last else x
    return draft.done(x)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("residual", {"conv1": 1, "layer1.0": 2, "layer1.1": 2, "layer2.0": 3, "fc": 1}),
        ("shuffled", {"conv1": 1, "stage2.0": 3, "stage2.1": 3, "conv5": 1, "fc": 1}),
        ("squeezed", {"features.0": 1, "features.1": 5, "features.2": 1, "features.3": 1, "classifier": 1}),
        ("flattened", {"features.0": 1, "features.2": 1, "classifier.0": 1, "classifier.2": 1}),
        ("fire", {"features.0": 1, "features.3": 3, "classifier": 1}),
        ("shared", {"first": 1, "again": 1, "fc": 1}),
        (
            "dense",
            {
                "features.conv0": 1, "features.denseblock1.denselayer1": 3, "features.denseblock1.denselayer2": 3,
                "features.transition1": 2, "classifier": 1,
            },
        ),
    ],
)  # fmt: skip
def test_known_networks(name: str, expected: dict[str, int]) -> None:
    found = list(block_names(DRAFTS[name]()).values())
    assert {part: found.count(part) for part in found} == expected


def test_a_perceptron() -> None:
    assert block_names(perceptron()) == {"0": "0", "2": "2"}


@pytest.mark.parametrize(
    ("paths", "joins", "expected"),
    [
        # a stage of one block beside one of two: RegNet
        (
            ["t.block1.block1-0.f.a", "t.block1.block1-0.f.b", "t.block2.block2-0.f.a", "t.block2.block2-0.f.b",
             "t.block2.block2-1.f.a", "t.block2.block2-1.f.b"],
            [("t.block2.block2-1.f.a", "t.block2.block2-1.f.b")],
            ["t.block1.block1-0"] * 2 + ["t.block2.block2-0"] * 2 + ["t.block2.block2-1"] * 2,
        ),
        # stages in a list, a list of one: EfficientNet
        (
            ["features.1.0.block.0", "features.1.0.block.1.0", "features.2.0.block.0.0", "features.2.0.block.1.0"],
            [],
            ["features.1.0"] * 2 + ["features.2.0"] * 2,
        ),
        # blocks by name, with a skip that says so, and a plain list of layers
        (["body.conv1", "body.conv2", "tail.a", "tail.b"], [("body.conv1", "body.conv2")],
         ["body", "body", "tail.a", "tail.b"]),
        # a block in a list of layers
        (["features.0", "features.1.a", "features.1.b", "features.2"], [("features.1.a", "features.1.b")],
         ["features.0", "features.1", "features.1", "features.2"]),
        # a module that is left and come back to
        (["a1.0", "a1.1", "b", "a1.2"], [], ["a1", "a1", "b", "a1.2"]),
    ],
    ids=["numbered", "listed", "named", "mixed", "left"],
)  # fmt: skip
def test_other_ways(paths: list[str], joins: list[tuple[str, str]], expected: list[str]) -> None:
    names = block_names(chained(["stem", *paths], joins))
    assert [names[path] for path in paths] == expected


def test_the_first_and_the_last_layer_stand_alone() -> None:
    names = block_names(chained(["net1.0", "net1.1", "net1.2", "net1.3"]))
    assert list(names.values()) == ["net1.0", "net1", "net1", "net1", "fc"]
    whole = Draft()
    x = whole.conv("net1.1", whole.conv("net1.0", INPUT, 3), 3)
    assert list(block_names(whole.done(x, head="net1.2")).values()) == ["net1.0", "net1", "net1.2"]


def test_branches_side_by_side_are_one_part() -> None:
    draft = Draft()
    x = draft.conv("stem", INPUT, 3)
    sides = [draft.conv(f"mixed.{n}.1", draft.conv(f"mixed.{n}.0", x, 3), 3) for n in "ab"]
    assert list(block_names(draft.done(draft.concatenate(*sides))).values()) == ["stem", *["mixed"] * 4, "fc"]


def test_other_nodes_belong_to_the_last_layer_that_they_depend_on() -> None:
    blueprint = DRAFTS["residual"]()
    homes = node_blocks(blueprint)
    assert {homes[node.name] for node in blueprint.nodes if node.op == "add"} == {"layer1.0", "layer1.1", "layer2.0"}
    assert (homes["bn1"], homes["layer1.1.bn2"], homes[blueprint.nodes[-2].name]) == ("conv1", "layer1.1", "layer2.0")
    assert node_blocks(perceptron())["flatten_0"] == "0"
    assert homes.keys() == {node.name for node in blueprint.nodes}
