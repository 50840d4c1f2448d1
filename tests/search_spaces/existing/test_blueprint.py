"""Blueprints as plain data: what is none is refused with the node, and the digest is of all that is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from drafts import DRAFTS

from search_spaces.existing.blueprint import Blueprint, needed
from search_spaces.existing.ops import OPS


@pytest.mark.parametrize("name", DRAFTS)
def test_json_and_back(name: str) -> None:
    blueprint = DRAFTS[name]()
    again = Blueprint.from_json(blueprint.to_json())
    assert (again, again.digest) == (blueprint, blueprint.digest)


def test_digests_do_not_change() -> None:
    """They are part of candidates' ids."""
    assert {name: DRAFTS[name]().digest for name in ("residual", "flattened")} == {
        "residual": "7faed5b3e732", "flattened": "e50f4c996a82",
    }  # fmt: skip


def test_every_field_and_source_counts() -> None:
    data = DRAFTS["residual"]().to_json()
    digests = {Blueprint.from_json(data).digest}
    for change in ({"groups": 2}, {"bias": True}, {"stride": [2, 2]}):
        nodes = [{**node, "fields": {**node["fields"], **change}} if node["name"] == "conv1" else node
                 for node in data["nodes"]]  # fmt: skip
        digests.add(Blueprint.from_json({**data, "nodes": nodes}).digest)
    assert len(digests) == 4


Change = Callable[[dict[str, dict[str, Any]], dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda nodes, _: nodes["bn1"].update(op="deconv"), "bn1: expected an operation of conv, .*, got 'deconv'"),
        (lambda nodes, _: nodes["bn1"].update(reads=["fc"]), "bn1: reads fc, which no node before it is called"),
        (lambda nodes, _: nodes["bn1"].update(name="conv1"), "conv1: expected one node of this name, got several"),
        (lambda nodes, _: nodes["bn1"].update(reads=["conv1", "image"]), r"bn1 \(norm\): expected to read 1, got 2"),
        (lambda nodes, _: nodes["bn1"].update(reads=[]), r"bn1 \(norm\): expected to read 1, got 0"),
        (lambda nodes, _: nodes["bn1"]["fields"].update(device="cuda"), r"bn1 \(norm\): expected fields .*, got dev"),
        (lambda nodes, _: nodes["layer1.0.conv1"].update(module="conv1", fields=nodes["fc"]["fields"]),
         r"layer1.0.conv1 \(conv\): expected fields of .*, got in_features"),
        (lambda nodes, _: nodes["bn1"].update(module="layer1.0.conv1"), "layer1.0.conv1: runs .* as something else"),
        (lambda _, whole: whole.update(head="bn1"), "head: expected the name of a linear layer or a convolution, got"),
        (lambda _, whole: whole.update(head="gone"), "head: expected the name of a linear .*, got 'gone'"),
        (lambda _, whole: whole.update(schema=2), "blueprint: expected schema 1, got 2"),
    ],
)  # fmt: skip
def test_what_is_no_blueprint_is_named(change: Change, said: str) -> None:
    whole = DRAFTS["residual"]().to_json()
    change({node["name"]: node for node in whole["nodes"]}, whole)
    with pytest.raises(ValueError, match=said):
        Blueprint.from_json(whole)


def test_what_a_node_is_computed_from() -> None:
    nodes = DRAFTS["residual"]().nodes
    assert [node.name for node in needed(nodes, "bn1")] == ["conv1", "bn1"]
    assert needed(nodes, nodes[-1].name) == list(nodes)


def test_rows_name_the_field_that_counts_their_channels() -> None:
    assert all(row.width in row.fields for row in OPS.values() if row.has_weights)
    assert {op for op, row in OPS.items() if row.may_be_head} == {"conv", "linear"}
