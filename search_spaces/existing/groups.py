"""The channel groups of an existing network: what is cut together, and what cannot be cut. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from search_spaces.existing.blocks import node_blocks
from search_spaces.existing.blueprint import Blueprint
from search_spaces.existing.executed import layers_in
from search_spaces.existing.labels import Labels, labels_of
from search_spaces.layers import ChannelGroup, Member, Span
from search_spaces.remembered import remembered


@dataclass(frozen=True, eq=False)
class Grouped:
    """All channel groups: `inner` ones lie within one part, or one layer alone writes them; several layers share the
    `between` ones, as residual connections make them do. In order of execution each.

    fixed: layers none of whose outputs can be cut, and why.
    """

    inner: tuple[ChannelGroup, ...]
    between: tuple[ChannelGroup, ...]
    fixed: Mapping[str, str]

    @cached_property
    def all(self) -> tuple[ChannelGroup, ...]:
        return self.inner + self.between


@remembered
def grouped(blueprint: Blueprint, input_size: int) -> Grouped:
    """The channel groups for images of a size. Raises Unfit, with the node, for images that the network cannot take.

    Channels that lie in the same places of the same weights are of one group, in the order in which its first member
    writes them. A group is called after that member; further ones of its channels are numbered from 2 on.
    """
    labels = labels_of(blueprint, input_size)
    classes = [found for found in _alike(labels) if len(found.numbers) > 1]
    blocks = node_blocks(blueprint)
    homes = {node.path: blocks[node.name] for node in reversed(blueprint.nodes)}  # where it is first run
    seen: Counter[str] = Counter()
    inner, between = list[ChannelGroup](), list[ChannelGroup]()
    for found in classes:
        writer = found.members[0][0]
        seen[writer] += 1
        name = f"{writer}.width{seen[writer] if seen[writer] > 1 else ''}"
        if len({homes[path] for path, _ in found.members}) == 1 or len(set(_sources(blueprint, found.members))) == 1:
            inner.append(_group(name, homes[writer], found, labels))
        else:
            between.append(_group(name, f"{writer}.width", found, labels))
    return Grouped(tuple(inner), tuple(between), _fixed(blueprint, labels, classes))


def _sources(blueprint: Blueprint, members: Sequence[Member]) -> Iterator[str]:
    """The layers among the members that make these channels, and do not only pass them on: no depthwise ones."""
    made = {node.path for node in blueprint.nodes if node.op == "linear" or node.fields.get("groups") == 1}
    yield from (path for path, axis in members if axis == 0 and path in made)


def groups_of(blueprint: Blueprint, input_size: int) -> tuple[ChannelGroup, ...]:
    """Everything that can be pruned: the groups within parts first."""
    return grouped(blueprint, input_size).all


def fixed_layers(blueprint: Blueprint, input_size: int) -> Mapping[str, str]:
    """Layers none of whose outputs can be cut, and why."""
    return grouped(blueprint, input_size).fixed


@dataclass(frozen=True)
class _Alike:
    """Labels of the same places: their numbers, in the order in which the first member has them, and the members."""

    numbers: tuple[int, ...]
    members: tuple[Member, ...]


def _alike(labels: Labels) -> Iterator[_Alike]:
    """The labels that can be cut, put together by where, and how many times each, they stand.

    So a selection gives a group whole or not at all, and never comes out empty.
    """
    members, places = tuple(labels.rows), dict[int, list[tuple[int, int]]]()
    for place, row in enumerate(labels.rows.values()):
        own, first, counts = np.unique(row, return_index=True, return_counts=True)
        order = np.argsort(first)
        for number, count in zip(own[order].tolist(), counts[order].tolist(), strict=True):
            places.setdefault(number, []).append((place, count))
    alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for number, found in places.items():
        if number not in labels.fixed:
            alike.setdefault(tuple(found), []).append(number)
    for where, numbers in alike.items():
        yield _Alike(tuple(numbers), tuple(members[place] for place, _ in where))


def _group(name: str, block: str, found: _Alike, labels: Labels) -> ChannelGroup:
    width = len(found.numbers)
    spans = tuple(_span(found.numbers, labels, member) for member in found.members)
    unit = 1 if spans[0] is None else len(spans[0][0])
    if unit > 1:  # None would be so many side by side
        spans = tuple(tuple((place,) for place in range(width)) if span is None else span for span in spans)
    return ChannelGroup(
        name=name,
        block=block,
        width=width,
        members=found.members,
        spans=spans if any(span is not None for span in spans) else (),
        unit=unit,
    )


def _span(numbers: Sequence[int], labels: Labels, member: Member) -> Span | None:
    """Where the labels of these numbers lie along an axis; None where they are all of it, one by one."""
    row = labels.rows[member]
    if len(row) == len(numbers) and row.tolist() == list(numbers):
        return None
    own = np.flatnonzero(np.isin(row, numbers))
    own = own[np.argsort(row[own], kind="stable")]
    by_number = dict(zip(np.unique(row[own]).tolist(), own.reshape(len(numbers), -1).tolist(), strict=True))
    return tuple(tuple(by_number[number]) for number in numbers)


def _fixed(blueprint: Blueprint, labels: Labels, classes: Sequence[_Alike]) -> Mapping[str, str]:
    cut = {path for found in classes for path, axis in found.members if axis == 0}
    found: dict[str, str] = {}
    for node in layers_in(blueprint):
        if node.path not in cut:
            row = labels.rows[node.path, 0]
            reasons = [labels.fixed[number] for number in row.tolist() if number in labels.fixed]
            alone = f"its {len(row)} outputs can only go together"
            found[node.path] = reasons[0] if reasons else alone
    return found
