"""Which channels of an existing network belong together, position by position. No torch.

Every channel that a layer writes has a label. Data movement moves labels; what is computed element by element makes one
label of those that meet, and so does a grouped convolution of all that it reads and writes in one of its groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.existing.blueprint import INPUT, Blueprint, Node
from search_spaces.existing.fields import number, numbers
from search_spaces.existing.shapes import shapes_of
from search_spaces.layers import Member

Row = NDArray[np.int64]
"""The labels along the channels of a tensor or along an axis of a weight."""


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels along every axis of every weight, in order of execution, a layer's outputs before its inputs.

    Labels that belong together are one. fixed: labels that cannot be cut, and why. The inputs of a convolution in
    groups have no row: they go with its outputs, and the weight has no axis of them. A selection of channels has rows
    as a layer has, of what it gives and of what it reads.
    """

    rows: Mapping[Member, Row]
    fixed: Mapping[int, str]


def labels_of(blueprint: Blueprint, input_size: int) -> Labels:
    """Raises what `shapes_of` raises."""
    shapes, made = shapes_of(blueprint, input_size), _Labels()
    tensors = {INPUT: made.fresh(blueprint.input_channels)}
    for node in blueprint.nodes:
        pixels = int(np.prod(shapes[node.reads[0]][1:], dtype=np.int64))
        tensors[node.name] = MOVES.get(node.op, _together)(made, node, [tensors[name] for name in node.reads], pixels)
    rows = {member: made.settled(row) for member, row in made.rows.items()}
    fixed = dict.fromkeys(made.settled(tensors[INPUT]).tolist(), "its outputs are tied to the channels of the image")
    fixed |= dict.fromkeys(made.settled(tensors[blueprint.nodes[-1].name]).tolist(), "its outputs are the classes")
    return Labels({member: rows[member] for member in sorted(rows, key=_execution(blueprint))}, fixed)


def _execution(blueprint: Blueprint) -> Callable[[Member], tuple[int, int]]:
    """What orders members: when a layer is first run, then the axis."""
    places: dict[str, int] = {}
    for place, node in enumerate(blueprint.nodes):
        places.setdefault(node.path, place)
    return lambda member: (places[member[0]], member[1])


class _Labels:
    """Labels as they are made and become one (union-find)."""

    def __init__(self) -> None:
        self.rows: dict[Member, Row] = {}
        self._parents: list[int] = []

    def fresh(self, count: int) -> Row:
        start = len(self._parents)
        self._parents += range(start, start + count)
        return np.arange(start, start + count)

    def unite(self, first: Row, second: Row) -> None:
        """Make one label of each two that stand at the same place."""
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            self._parents[self._root(one)] = self._root(other)

    def settled(self, row: Row) -> Row:
        """The row with one label for all that belong together."""
        return np.fromiter(map(self._root, row.tolist()), dtype=np.int64, count=len(row))

    def along(self, member: Member, row: Row) -> None:
        """These labels lie along an axis of a weight; those of an earlier run of the layer are the same ones."""
        self.unite(self.rows.setdefault(member, row), row)

    def _root(self, label: int) -> int:
        parents = self._parents
        while parents[label] != label:
            parents[label] = parents[parents[label]]
            label = parents[label]
        return label


Move = Callable[[_Labels, Node, Sequence[Row], int], Row]
"""Labels so far, a node, the labels of what it reads, the pixels of a map of that -> the labels of what it gives."""


def _together(made: _Labels, _: Node, read: Sequence[Row], __: int) -> Row:
    for other in read[1:]:
        made.unite(read[0], other)
    return read[0]


def _norm(made: _Labels, node: Node, read: Sequence[Row], _: int) -> Row:
    made.along((node.path, 0), read[0])
    return read[0]


def _conv(made: _Labels, node: Node, read: Sequence[Row], pixels: int) -> Row:
    split = number(node, "groups")
    if split == 1:
        return _written(made, node, read[0], number(node, "out_channels"))
    groups = read[0].reshape(split, -1)
    for channel in groups.T[1:]:
        made.unite(groups[:, 0], channel)
    row = np.repeat(groups[:, 0], number(node, "out_channels") // split)
    made.along((node.path, 0), row)
    return row


def _linear(made: _Labels, node: Node, read: Sequence[Row], _: int) -> Row:
    return _written(made, node, read[0], number(node, "out_features"))


def _written(made: _Labels, node: Node, read: Row, count: int) -> Row:
    """What a layer writes of all that it reads: labels of its own, the same at each run."""
    made.along((node.path, 1), read)
    if (node.path, 0) not in made.rows:
        made.along((node.path, 0), made.fresh(count))
    return made.rows[node.path, 0]


def _concatenate(_: _Labels, __: Node, read: Sequence[Row], ___: int) -> Row:
    return np.concatenate(read)


def _select(made: _Labels, node: Node, read: Sequence[Row], _: int) -> Row:
    row = read[0][list(numbers(node, "channels"))]
    made.along((node.path, 0), row)
    made.along((node.path, 1), read[0])
    return row


def _flatten(_: _Labels, __: Node, read: Sequence[Row], pixels: int) -> Row:
    return np.repeat(read[0], pixels)


MOVES: Mapping[str, Move] = {
    "conv": _conv,
    "linear": _linear,
    "norm": _norm,
    "norm1d": _norm,
    "concatenate": _concatenate,
    "select": _select,
    "flatten": _flatten,
}
"""Operations that do not compute each channel from the channels of its number alone; in all others those meet."""
