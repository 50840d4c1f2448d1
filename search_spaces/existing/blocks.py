"""The parts of an existing network: which of its layers make up a block, by its modules and its data flow. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from search_spaces.existing.blueprint import INPUT, Blueprint
from search_spaces.existing.executed import folded_norms, layers_in
from search_spaces.remembered import remembered


@remembered
def block_names(blueprint: Blueprint) -> Mapping[str, str]:
    """Part by layer, in order of execution; the layers of a part stand together.

    A part is a module with all its layers, `layer1.0` or `features.denseblock1.denselayer1`: the largest one that is
    no list of blocks. The first and the last layer are parts of their own, as is what a module runs when another one
    has been run in between.
    """
    paths = [node.path for node in layers_in(blueprint)]
    homes = dict(_homes(_Module("", tuple(paths)), _Flow.of(blueprint)))
    homes |= {path: path for path in (paths[0], paths[-1]) if _shared(homes, path)}
    found: dict[str, str] = {}
    for home, run in groupby(paths, key=homes.__getitem__):
        began = home in found.values()
        found |= {path: path if began else home for path in run}
    return found


@remembered
def node_blocks(blueprint: Blueprint) -> Mapping[str, str]:
    """Part by node: that of the last layer which what it gives depends on; of the image alone: the first part."""
    names, folded = block_names(blueprint), folded_norms(blueprint)
    paths, latest = list(names), {INPUT: 0}
    order = {path: place for place, path in enumerate(paths)}
    for node in blueprint.nodes:
        own = order.get(folded.get(node.name, node.path), 0)
        latest[node.name] = max([own, *(latest[name] for name in node.reads)])
    return {node.name: names[paths[latest[node.name]]] for node in blueprint.nodes}


def _shared(homes: Mapping[str, str], path: str) -> bool:
    return sum(home == homes[path] for home in homes.values()) > 1


@dataclass(frozen=True)
class _Flow:
    """What the data flow says of layers, by path.

    behind: the layers that it depends on. segment: the piece of the network between two places where a single tensor
    carries all on.
    """

    behind: Mapping[str, frozenset[str]]
    segment: Mapping[str, int]

    @classmethod
    def of(cls, blueprint: Blueprint) -> _Flow:
        layers = {node.path for node in layers_in(blueprint)}
        behind: dict[str, frozenset[str]] = {INPUT: frozenset()}
        first: dict[str, frozenset[str]] = {}
        segment: dict[str, int] = {}
        for node, piece in zip(blueprint.nodes, _pieces(blueprint), strict=True):
            before = frozenset[str]().union(*(behind[name] for name in node.reads))
            behind[node.name] = before
            if node.path in layers:
                first.setdefault(node.path, before)
                segment.setdefault(node.path, piece)
                behind[node.name] |= {node.path}
        return cls(first, segment)


def _pieces(blueprint: Blueprint) -> Iterator[int]:
    """The piece of each node; a new one begins where only one tensor of those before is still read."""
    last = {name: place for place, node in enumerate(blueprint.nodes) for name in node.reads}
    alive, piece = {INPUT}, 0
    for place, node in enumerate(blueprint.nodes):
        yield piece
        alive = {name for name in (*alive, node.name) if last.get(name, -1) > place}
        piece += len(alive) == 1


@dataclass(frozen=True)
class _Module:
    """A module path and the layers under it, in order of execution."""

    path: str
    layers: tuple[str, ...]

    def children(self) -> Sequence[_Module]:
        """The modules in it, by their first layer; a layer is one itself."""
        start, found = len(self.path) + 1 if self.path else 0, dict[str, list[str]]()
        for layer in self.layers:
            end = layer.find(".", start)
            found.setdefault(layer if end < 0 else layer[:end], []).append(layer)
        return [_Module(path, tuple(layers)) for path, layers in found.items()]

    @property
    def is_layer(self) -> bool:
        return len(self.layers) == 1

    @property
    def stem(self) -> str:
        """Its name without the number at its end: modules of one stem are alike."""
        return self.path.rstrip("0123456789")

    @property
    def is_numbered(self) -> bool:
        return any(name[-1:].isdigit() for name in self.path.split("."))

    def is_chain(self, flow: _Flow) -> bool:
        """Whether it is of several blocks of several layers each, every one of which depends on the one before."""
        blocks = [child for child in self.children() if not child.is_layer]
        return len(blocks) > 1 and all(
            any(flow.behind[layer] & set(one.layers) for layer in other.layers) for one, other in pairwise(blocks)
        )

    def is_loose(self, flow: _Flow) -> bool:
        """Whether it is a plain list of what stands apart: no piece of the data flow holds two of its modules."""
        pieces = [{flow.segment[layer] for layer in child.layers} for child in self.children()]
        return not self.is_numbered and sum(map(len, pieces)) == len(set().union(*pieces))


def _homes(module: _Module, flow: _Flow) -> Iterator[tuple[str, str]]:
    """Layer and part, for all layers in a module that is no part itself."""
    children = module.children()
    chains = {child.stem for child in children if child.is_chain(flow)}
    for child in children:
        if child.is_layer or not (child.stem in chains or child.is_loose(flow) or _is_list_of_one(child)):
            yield from ((layer, child.path) for layer in child.layers)
        else:
            yield from _homes(child, flow)


def _is_list_of_one(module: _Module) -> bool:
    """Whether its only module is numbered 0, as in a list of a single block."""
    only = module.children()
    return len(only) == 1 and only[0].path == f"{module.path}.0"
