"""The terms that a network's latency is made of: what they are, how units of them are gathered, and a layer's own.

A layer is a row of terms (calls, products, elements read and written, ...). Products and elements are counted as
vector units do: channels are filled up to the next whole vector, and what a partly filled one costs besides has a term
of its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search_spaces.layers import LayerSpec

Array = NDArray[np.float64]
Format = Literal["float", "integer"]
Held = Literal["pixels", "float", "integer"]

LANES, DEPTH = 16, 4  # channels are written in vectors of 16; input channels are read in fours
NETWORK = "network"

# Nanoseconds of one unit of each term on some processor: only their ratios matter, and only until data say otherwise.
_CALL, _ELEMENT = 1000.0, 0.4
_WORK: Mapping[str, float] = {
    "call": _CALL, "products": 0.0, "written": 0.1, "read": 0.1, "weights": 0.05, "narrow": _CALL, "ragged": 0.2,
    "border": 0.0,
}  # fmt: skip
_PRODUCTS = {"float": 0.015, "integer": 0.01}
_LAYERS: Mapping[str, Mapping[str, float]] = {
    "conv": _WORK,
    "pointwise": _WORK,
    "depthwise": {"call": _CALL, "products": 0.04, "ragged": 0.2, "narrow": _CALL, "border": 0.3},
    "pooled": {"call": _CALL, "products": 0.0, "written": 3.0, "narrow": _CALL},
    "linear": {"call": _CALL, "products": 0.0, "written": 3.0},
}
_ACTS = ("hardswish", "gate", "moved", "regridded")


def _nominal() -> dict[str, float]:
    """Nominal nanoseconds by term: `kind/format/what` of layers, `event/formats/what` of what lies around them."""
    found = {f"{NETWORK}/call": 2 * _CALL, f"{NETWORK}/pixels": 2.0}
    for kind, work in _LAYERS.items():
        for fmt, product in _PRODUCTS.items():
            costs = {what: cost or (product if what == "products" else 0.0) for what, cost in work.items()}
            found |= {f"{kind}/{fmt}/{what}": cost for what, cost in costs.items() if cost}
    ways = ("float", "integer")
    events = [f"{act}/{fmt}" for act in _ACTS for fmt in ways]
    events += [f"cast/{held}/{fmt}" for held in ("pixels", *ways) for fmt in ways if held != fmt]
    events += [f"{event}/{held}/{fmt}" for event in ("added", "averaged") for held in ways for fmt in ways]
    for event in events:
        found |= {f"{event}/call": _CALL, f"{event}/elements": _ELEMENT}
    return found


NOMINAL_NS: Mapping[str, float] = _nominal()
_COLUMN = {name: column for column, name in enumerate(NOMINAL_NS)}


class Kernel(NamedTuple):
    """A layer as the runtime sees it: layers of one `kind` (kind and format) whose `shape` is alike take alike times.

    shape: logarithms of channels in and out, map size and kernel; stride, whether the last vector of channels is partly
    filled, and whether its input changes its type. Distances in it are what a learned correction compares.
    """

    kind: str
    shape: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """The terms of a network: `values[i]` units of term `columns[i]` in kernel `rows[i]`."""

    kernels: tuple[Kernel, ...]
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    values: Array

    @property
    def total(self) -> Array:
        """Units of every term of NOMINAL_NS in the whole network."""
        found = np.zeros(len(NOMINAL_NS))
        np.add.at(found, self.columns, self.values)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What one part adds to a Work, its kernels numbered from 0; how its result is held, and the side of that map."""

    kernels: tuple[Kernel, ...]
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    values: Array
    held: Held
    side: int


class Tally:
    """Gathers units of terms; they belong to the kernel that was opened last, before the first one to that."""

    def __init__(self) -> None:
        self.kernels: list[Kernel] = []
        self._units: dict[tuple[int, int], float] = defaultdict(float)

    def open(self, kernel: Kernel) -> None:
        self.kernels.append(kernel)

    def add(self, term: str, units: float = 1.0) -> None:
        if (column := _COLUMN.get(term)) is not None:
            self._units[max(0, len(self.kernels) - 1), column] += units

    def event(self, name: str, elements: float) -> None:
        self.add(f"{name}/call")
        self.add(f"{name}/elements", elements)

    def closed(self, held: Held, side: int) -> Piece:
        places = np.array(list(self._units), np.int32).reshape(-1, 2)
        values = np.array(list(self._units.values()))
        return Piece(tuple(self.kernels), places[:, 0], places[:, 1], values, held, side)


class LayerWalk:
    """Tallies layers in order of execution; knows in which format the last one left its result."""

    def __init__(self, formats: Mapping[str, str], tally: Tally, held: Held, side: int) -> None:
        self._formats, self.tally = formats, tally
        self.held, self.side = held, side

    def layer(self, layer: LayerSpec) -> Format:
        """One layer, with the change of its input's format; returns its own."""
        fmt: Format = "float" if self._formats[layer.name] == "fp32" else "integer"
        kind = "pooled" if is_pooled(layer) else layer.kind
        changes = self.held not in (fmt, "pixels")
        self.tally.open(Kernel(f"{kind}/{fmt}", shape_of(layer, changes=changes)))
        if layer.kind == "linear" and self.side and self.held != "pixels" and is_first(layer):
            self.tally.event(f"averaged/{self.held}/{fmt}", layer.in_channels * self.side**2)
        if self.held != fmt:
            self.tally.event(f"cast/{self.held}/{fmt}", layer.in_channels * layer.input_pixels)
        for what, units in units_of(layer):
            self.tally.add(f"{kind}/{fmt}/{what}", units)
        self.held, self.side = fmt, layer.output_size
        return fmt


def units_of(layer: LayerSpec) -> Iterator[tuple[str, float]]:
    """The layer's own terms."""
    written, read = _up(layer.out_channels, LANES), _up(layer.in_channels // layer.groups, DEPTH)
    if layer.kind == "depthwise":
        read = 1
    (height, width), (rows, columns) = layer.kernels, layer.output_map
    weights, pixels = written * read * height * width, rows * columns
    yield "call", 1
    yield "products", weights * pixels
    yield "weights", weights
    yield "written", written * pixels
    yield "read", _up(layer.in_channels, DEPTH) * layer.input_pixels
    yield "border", written * ((height - 1) * columns + (width - 1) * rows) / 2
    if layer.out_channels % LANES:
        yield "ragged", layer.out_channels * pixels
    if layer.out_channels < LANES:
        yield "narrow", 1


def shape_of(layer: LayerSpec, *, changes: bool) -> tuple[float, ...]:
    """See Kernel. A doubling counts 1, of the map's side 0.7; so does a stride, and a partly filled vector."""
    kernel, side, stride = (math.sqrt(math.prod(pair)) for pair in (layer.kernels, layer.output_map, layer.strides))
    channels, ragged = (layer.in_channels, layer.out_channels), float(layer.out_channels % LANES > 0)
    return (*map(math.log2, (*channels, kernel)), 0.7 * math.log2(side), stride, ragged, changes / 2)


def is_first(layer: LayerSpec) -> bool:
    """Whether a layer is whole, or the first of its factors."""
    return layer.name in (layer.whole, f"{layer.whole}.0")


def is_pooled(layer: LayerSpec) -> bool:
    """Whether a layer works on the average of a map: two of them are a gate."""
    return ".squeeze_excite." in layer.name


def _up(channels: int, step: int) -> int:
    return -(-channels // step) * step
