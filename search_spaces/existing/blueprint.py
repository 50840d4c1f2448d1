"""A blueprint: an existing network as plain data, node by node, of which it is built without its code. No torch.

A node is one operation. Those with weights are named by their module path, so that the weights of the network that was
read fit by name. What follows from a blueprint (shapes, layers, channel groups, parts) is worked out in the modules
beside this one; what each operation is, stands in the table `ops.OPS`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from pydantic import JsonValue, model_validator

from search_spaces.block_configs import Positive, Record
from search_spaces.existing.ops import OPS

INPUT = "image"  # in `reads`: what the network is given
SCHEMA = 1


class Node(Record):
    """One operation.

    name: unique in the network; of an operation with weights its module path. op: a row of OPS. reads: names of
    earlier nodes, or INPUT. fields: arguments of the row's module, by name. module: of an operation with weights that
    runs again, the module path under which they are; "" where that is the name.
    """

    name: str
    op: str
    reads: tuple[str, ...]
    fields: Mapping[str, JsonValue] = {}
    module: str = ""

    @property
    def path(self) -> str:
        """The module path of its weights, if it has any."""
        return self.module or self.name

    @property
    def signature(self) -> tuple[str, str]:
        """What it does, whatever it is called and reads."""
        return self.op, json.dumps(dict(self.fields), sort_keys=True)


class Blueprint(Record):
    """A network: nodes in order of execution, the last of which gives the logits.

    input_channels: of the images it takes. head: the node whose output channels are the classes, a linear layer or a
    convolution; the fields of that node say 1 there, since the number is the data set's.
    """

    input_channels: Positive
    head: str
    nodes: tuple[Node, ...]

    @model_validator(mode="after")
    def _check(self) -> Blueprint:
        known, weights = {INPUT}, dict[str, tuple[str, str]]()
        for node in self.nodes:
            if node.op not in OPS:
                raise ValueError(f"{node.name}: expected an operation of {', '.join(OPS)}, got {node.op!r}")
            row = OPS[node.op]
            if row.reads not in (None, len(node.reads)) or not node.reads:
                wanted = row.reads or "one or more"
                raise ValueError(f"{node.name} ({node.op}): expected to read {wanted}, got {len(node.reads)}")
            if unknown := sorted(node.fields.keys() - set(row.fields)):
                raise ValueError(f"{node.name} ({node.op}): expected fields of {list(row.fields)}, got {unknown[0]}")
            if strange := [name for name in node.reads if name not in known]:
                raise ValueError(f"{node.name}: reads {strange[0]}, which no node before it is called")
            if node.name in known:
                raise ValueError(f"{node.name}: expected one node of this name, got several")
            if row.has_weights and weights.setdefault(node.path, node.signature) != node.signature:
                raise ValueError(f"{node.name}: runs {node.path} as something else than a node before it")
            known.add(node.name)
        if not any(node.name == self.head and OPS[node.op].may_be_head for node in self.nodes):
            raise ValueError(f"head: expected the name of a linear layer or a convolution, got {self.head!r}")
        return self

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def digest(self) -> str:
        """First 12 hex digits of the sha256 of the canonical JSON."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **self.model_dump(mode="json", exclude_defaults=True)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Blueprint:
        """Raises ValueError for what is no blueprint of this schema."""
        fields = dict(data)
        if fields.pop("schema", None) != SCHEMA:
            raise ValueError(f"blueprint: expected schema {SCHEMA}, got {data.get('schema')!r}")
        return cls.model_validate(fields)


def needed(nodes: Collection[Node], last: str) -> list[Node]:
    """The nodes that the last one is computed from, and it, in order of execution."""
    wanted, found = {last}, list[Node]()
    for node in reversed(list(nodes)):
        if node.name in wanted:
            found.append(node)
            wanted |= set(node.reads)
    return found[::-1]
