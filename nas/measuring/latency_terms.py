"""What a network's latency is made of, as plain numbers: every layer's work, and what its format and place add.

A layer is a row of terms (calls, products, elements read and written, ...). Products and elements are counted as
vector units do: channels are filled up to the next whole vector, and what a partly filled one costs besides has a term
of its own. Around the layers: changes between floats and integers, additions of skips, gates, activations that are no
part of a layer, channel moves.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas.candidates.candidate import Candidate, formats_of
from nas.candidates.runs import Run, runs_of
from search_spaces.flows import INPUT, Operation
from search_spaces.layers import LayerSpec
from search_spaces.parts import Part
from search_spaces.sites import BlockSite

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


def work_of(candidate: Candidate, num_classes: int) -> Work:
    """The terms of a candidate. Depends on its structure alone, and may be kept."""
    architecture = candidate.architecture
    pieces = _pieces_of_runs(candidate, num_classes) or _pieces_of_parts(candidate, num_classes)
    pieces.append(_whole(architecture.input_channels * architecture.input_size**2))
    first = np.repeat(np.cumsum([0, *(len(piece.kernels) for piece in pieces[:-1])]), [len(p.rows) for p in pieces])
    return Work(
        tuple(kernel for piece in pieces for kernel in piece.kernels),
        (np.concatenate([piece.rows for piece in pieces]) + first).astype(np.int32),
        np.concatenate([piece.columns for piece in pieces]),
        np.concatenate([piece.values for piece in pieces]),
    )


def _pieces_of_parts(candidate: Candidate, num_classes: int) -> list[Piece]:
    """Of a network whose parts say themselves what lies between their layers; of another one its layers alone."""
    held: Held = "pixels"
    side, pieces = candidate.architecture.input_size, list[Piece]()
    for part in candidate.parts(num_classes):
        piece = _piece(part, formats_of(part, candidate.plan), held, side)
        pieces.append(piece)
        held, side = piece.held, piece.side
    return pieces


def _pieces_of_runs(candidate: Candidate, num_classes: int) -> list[Piece]:
    """Of a network that says what it does in runs of parts; none of any other."""
    runs = runs_of(candidate, num_classes) if candidate.architecture.stretches() is not None else None
    pieces, source = list[Piece](), Source("pixels", candidate.architecture.input_channels, 1)
    for run in runs or ():
        formats = tuple(candidate.plan.format_of(layer.name) for layer in run.layers)
        piece, source = _run_piece(run, formats, source)
        pieces.append(piece)
    return pieces


class Source(NamedTuple):
    """What an operation reads: how it is held, its channels, and the pixels of its map."""

    held: Held
    channels: int
    pixels: int

    @property
    def elements(self) -> int:
        return self.channels * self.pixels

    @property
    def kept(self) -> Format:
        """What an operation gives that leaves codes codes."""
        return "integer" if self.held == "integer" else "float"


# Operation -> the event that it counts as; each reads and writes a map once.
_BETWEEN: Mapping[str, str] = {
    **dict.fromkeys(("hardswish", "hardsigmoid", "sigmoid", "silu", "tanh", "gelu", "elu", "leaky_relu"), "hardswish"),
    **dict.fromkeys(("select", "concatenate"), "moved"),
    **dict.fromkeys(("max_pool", "average_pool", "adaptive_average"), "regridded"),
    "multiply": "gate",
}


@lru_cache(maxsize=1 << 16)
def _run_piece(run: Run, formats: tuple[str, ...], source: Source) -> tuple[Piece, Source]:
    """What a run adds, and what it gives."""
    tally, layers = _Tally(), run.by_name
    walk = _Walk(dict(zip((layer.name for layer in run.layers), formats, strict=True)), tally, source.held, 1)
    results = {INPUT: source}
    for number, operation in enumerate(run.flow):
        reads = [results[read] for read in operation.reads]
        results[number] = walk.operation(operation, reads, layers.get(operation.layer))
    out = results[len(run.flow) - 1]
    return tally.closed(out.held, 1), out


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What one part adds to a Work, its kernels numbered from 0; how its result is held, and the side of that map."""

    kernels: tuple[Kernel, ...]
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    values: Array
    held: Held
    side: int


@lru_cache(maxsize=1 << 16)  # thousands of networks are made of few different parts
def _piece(part: Part, formats: tuple[str, ...], held: Held, side: int) -> Piece:
    tally = _Tally()
    walk = _Walk(dict(zip((layer.name for layer in part.layers), formats, strict=True)), tally, held, side)
    walk.part(part)
    return tally.closed(walk.held, walk.side)


@lru_cache(maxsize=1 << 8)
def _whole(pixels: int) -> Piece:
    """What belongs to no layer."""
    tally = _Tally()
    tally.open(Kernel(NETWORK, (0.0,) * 7))
    tally.add(f"{NETWORK}/call")
    tally.add(f"{NETWORK}/pixels", pixels)
    return tally.closed("float", 1)


class _Tally:
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


class _Walk:
    """Goes through the layers in order of execution; knows in which format the last one left its result."""

    def __init__(self, formats: Mapping[str, str], tally: _Tally, held: Held, side: int) -> None:
        self._formats, self._tally = formats, tally
        self.held, self.side = held, side

    def part(self, part: Part) -> None:
        """A block, or the stem, head or classifier."""
        before, site, layers = self.held, part.site, part.layers
        last = layers[-1].whole if site is not None else ""
        activation = site.config.activation if site is not None and not part.is_linear else "relu"
        for layer, following in zip_longest(layers, layers[1:]):
            fmt = self._layer(layer)
            if following is not None and following.whole == layer.whole:
                continue  # a factor, behind which nothing is
            if activation == "hardswish" and layer.whole != last and not _is_pooled(layer):
                self._tally.event(f"hardswish/{fmt}", layer.out_channels * layer.output_pixels)
            if layer.whole.endswith("squeeze_excite.excite") and site is not None:
                self._tally.event(f"gate/{fmt}", layer.out_channels * site.output_size**2)
        if site is not None:
            self._behind(site, layers[-1], before)

    def operation(self, operation: Operation, reads: Sequence[Source], layer: LayerSpec | None) -> Source:
        """An operation of a flow; returns what it gives."""
        first, pixels = reads[0], math.prod(operation.size or (reads[0].pixels,))
        if layer is not None:
            self.held, self.side = first.held, 0  # an average counts by itself
            return Source(self._layer(layer), layer.out_channels, layer.output_pixels)
        channels = first.channels
        if operation.op == "concatenate":
            channels = sum(read.channels for read in reads)
        elif operation.op == "select":
            channels = min(channels, len(dict(operation.fields)["channels"]))
        held: Held = first.held if operation.op == "normalize" else min(reads, key=lambda read: read.kept).kept
        given = Source(held, channels * (first.pixels if operation.op == "flatten" else 1), pixels)
        if operation.op == "average":
            self._tally.event(f"averaged/{first.held}/{first.kept}", first.elements)
        elif operation.op == "add":
            self._tally.event(f"added/{first.held}/{reads[1].kept}", given.elements)
        elif operation.op in _BETWEEN:
            moved = max(given.elements, *(read.elements for read in reads))
            self._tally.event(f"{_BETWEEN[operation.op]}/{given.kept}", moved)
        return given

    def _behind(self, site: BlockSite, last: LayerSpec, before: Held) -> None:
        """What follows a block's last layer."""
        written, after = last.out_channels * site.output_size**2, self.held
        if site.kind.splits:
            event = "moved" if site.keeps_shape else "regridded"
            self._tally.event(f"{event}/{after}", 2 * written)
        elif site.has_skip or last.whole.endswith("shortcut"):
            first = before if site.has_skip and before != "pixels" else after
            self._tally.event(f"added/{first}/{after}", written)

    def _layer(self, layer: LayerSpec) -> Format:
        """One layer, with the change of its input's format; returns its own."""
        fmt: Format = "float" if self._formats[layer.name] == "fp32" else "integer"
        kind = "pooled" if _is_pooled(layer) else layer.kind
        changes = self.held not in (fmt, "pixels")
        self._tally.open(Kernel(f"{kind}/{fmt}", _shape(layer, changes=changes)))
        if layer.kind == "linear" and self.side and self.held != "pixels" and _is_first(layer):
            self._tally.event(f"averaged/{self.held}/{fmt}", layer.in_channels * self.side**2)
        if self.held != fmt:
            self._tally.event(f"cast/{self.held}/{fmt}", layer.in_channels * layer.input_pixels)
        for what, units in _units(layer):
            self._tally.add(f"{kind}/{fmt}/{what}", units)
        self.held, self.side = fmt, layer.output_size
        return fmt


def _units(layer: LayerSpec) -> Iterator[tuple[str, float]]:
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


def _shape(layer: LayerSpec, *, changes: bool) -> tuple[float, ...]:
    """See Kernel. A doubling counts 1, of the map's side 0.7; so does a stride, and a partly filled vector."""
    kernel, side, stride = (math.sqrt(math.prod(pair)) for pair in (layer.kernels, layer.output_map, layer.strides))
    channels, ragged = (layer.in_channels, layer.out_channels), float(layer.out_channels % LANES > 0)
    return (*map(math.log2, (*channels, kernel)), 0.7 * math.log2(side), stride, ragged, changes / 2)


def _is_first(layer: LayerSpec) -> bool:
    """Whether a layer is whole, or the first of its factors."""
    return layer.name in (layer.whole, f"{layer.whole}.0")


def _is_pooled(layer: LayerSpec) -> bool:
    """Whether a layer works on the average of a map: two of them are a gate."""
    return ".squeeze_excite." in layer.name


def _up(channels: int, step: int) -> int:
    return -(-channels // step) * step
