"""The size and the peak memory of a candidate's file before it is built, in closed form. No torch.

Both are sums over the network's parts, each drawn once: thousands of candidates are made of few different parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from nas.candidates.candidate import Candidate, formats_of
from nas.candidates.shaping import SHAPINGS
from nas.runtimes.onnx.model import graph_of, model_of
from nas.runtimes.onnx.outline import Map, Node
from nas.runtimes.onnx.packing import UNPACK, unpack_function
from nas.runtimes.onnx.peak import peak_of_part
from nas.runtimes.onnx.sizes import framed, tensor_bytes
from nas.runtimes.onnx.sketch import BOUNDS, PIXEL_SCALE, ZERO, Sketch, held_operations
from nas.runtimes.runtime import FileForecast, FileHeader
from search_spaces.architecture import Part
from search_spaces.flows import FLOWS, INPUT, Flow, of_classifier, of_head, of_stem, with_factors
from search_spaces.linear import flow_of, linear_flow

ZERO_POINTS = 40  # different zero points of grids with negative values, as good as equally likely
OF_ENDS = {"stem": of_stem, "head": of_head}
SCALAR_BYTES = {name: tensor_bytes((), 1 if name == ZERO else 4) for name in (PIXEL_SCALE, ZERO, *BOUNDS)}
ZERO_POINT_BYTES = tensor_bytes((), 1) + 3  # with its name
SIZE_SD = 4.0  # in bytes


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What a file has of one part; as in Outline. `source` is its input, of elements of `source_bytes`.

    out, is_held, is_signed: the shape of its result, whether that is held in codes and may be negative.
    """

    size_bytes: int
    node_uses: tuple[int, ...]
    constant_uses: tuple[int, ...]
    input_uses: int
    grid_uses: int
    zero_points: int
    scalars: tuple[tuple[str, int, int], ...]
    restored_bits: frozenset[int]
    nodes: tuple[Node, ...]
    source: Map
    source_bytes: int
    out: Map
    is_held: bool
    is_signed: bool


def forecast(candidate: Candidate, header: FileHeader, unpacked: frozenset[str] = frozenset()) -> FileForecast | None:
    """Size and peak memory of the file; None for kinds of blocks whose flow is not known and for further steps.

    The size is exact but for what depends on weights: which zero points and scales of activations are equal, and are
    stored once.
    """
    pieces = _pieces(candidate, len(header.class_names), unpacked)
    if pieces is None:
        return None
    content = sum(piece.size_bytes for piece in pieces) + _letters(pieces)
    content += sum(SCALAR_BYTES[name] for name in {name for piece in pieces for name, _, _ in piece.scalars})
    grids = sum(piece.zero_points for piece in pieces)
    distinct = ZERO_POINTS * (1 - (1 - 1 / ZERO_POINTS) ** grids)
    outside, inside = _envelope(header, frozenset().union(*(piece.restored_bits for piece in pieces)))
    size = outside + framed(inside + content) - (grids - distinct) * ZERO_POINT_BYTES
    size_sd = SIZE_SD + ZERO_POINT_BYTES * (grids - distinct) ** 0.5
    return FileForecast(size, size_sd, lambda: max(map(_peak, pieces)))


@lru_cache(maxsize=1 << 14)
def _peak(piece: Piece) -> int:
    return peak_of_part(piece.nodes, piece.source, piece.source_bytes)


def _letters(pieces: Sequence[Piece]) -> int:
    """Letters of all numbered names: a letter for the kind and the digits of the number."""
    total, node, constant, shared = 0, 0, 0, dict[str, int]()
    for piece in pieces:
        before = _name(node - 1) if node else len("image")
        total += piece.input_uses * before + piece.grid_uses * _name(max(0, constant - 1))
        new = 0
        for name, uses, first in piece.scalars:
            if name not in shared:
                shared[name] = constant + first + new
                new += 1
                total += _name(shared[name])
            total += uses * _name(shared[name])
        total += _names(piece.node_uses, node) + _names(piece.constant_uses, constant + new)
        node, constant = node + len(piece.node_uses), constant + len(piece.constant_uses) + new
    return total - _name(node - 1) + len("logits")


def _name(number: int) -> int:
    return 1 + len(str(number))


def _names(uses: Sequence[int], first: int) -> int:
    if not uses:
        return 0
    if _name(first) == _name(first + len(uses) - 1):
        return sum(uses) * _name(first)
    return sum(count * _name(number) for number, count in enumerate(uses, first))


@lru_cache(maxsize=1 << 8)
def _envelope(header: FileHeader, restored_bits: frozenset[int]) -> tuple[int, int]:
    """Bytes of a model without nodes: around its graph, with the functions that restore such codes, and in it."""
    graph = graph_of([], [], header)
    functions = {f"{UNPACK}{bits}": partial(unpack_function, bits) for bits in restored_bits}
    inside = graph.ByteSize()
    return model_of(graph, header, functions).ByteSize() - framed(inside), inside


def _pieces(candidate: Candidate, num_classes: int, unpacked: frozenset[str]) -> list[Piece] | None:
    """The pieces of a network's parts, in order; None where a part's flow is not known."""
    architecture, plan = candidate.architecture, candidate.plan
    parts = candidate.parts(num_classes)
    told_by_parts = plan.steps.keys() <= SHAPINGS.keys()
    if not told_by_parts or candidate.depends_on_weights or not all(map(_is_known, parts)):
        return None
    formats = [formats_of(part, plan) for part in parts]
    asks = [_asks_for_codes(part, given) for part, given in zip(parts, formats, strict=True)]
    pieces, source = list[Piece](), Map(architecture.input_channels, architecture.input_size)
    held, signed = False, False
    for part, given, next_asks in zip(parts, formats, [*asks[1:], False], strict=True):
        piece = _piece(part, given, source, held, signed, next_asks, unpacked)
        pieces.append(piece)
        source, held, signed = piece.out, piece.is_held, piece.is_signed
    return pieces


def _is_known(part: Part) -> bool:
    return part.site is None or part.site.config.kind in FLOWS


@lru_cache(maxsize=1 << 12)
def _flow_of(part: Part) -> Flow:
    return with_factors(_whole_flow(part), _names_of(part))


def _whole_flow(part: Part) -> Flow:
    """What the part does where no layer is factored."""
    if part.site is not None:
        return linear_flow(part.site) if part.is_linear else flow_of(part.site)
    return of_classifier() if part.name == "classifier" else OF_ENDS[part.name](part.activation)


@lru_cache(maxsize=1 << 16)
def _asks_for_codes(part: Part, formats: tuple[str, ...]) -> bool:
    """Whether a layer of the part needs the part's input in codes."""
    by_name = dict(zip(_names_of(part), formats, strict=True))
    return any(o.op == "layer" and INPUT in o.reads and by_name[o.layer] != "fp32" for o in _flow_of(part))


def _names_of(part: Part) -> list[str]:
    """Layers as the flow names them: without the part's own name."""
    return [layer.name[len(part.name) + 1 :] for layer in part.layers]


@lru_cache(maxsize=1 << 16)
def _piece(
    part: Part, formats: tuple[str, ...], source: Map, input_held: bool, input_signed: bool, next_asks: bool,
    unpacked: frozenset[str],
) -> Piece:  # fmt: skip
    flow, names = _flow_of(part), _names_of(part)
    by_name = dict(zip(names, formats, strict=True))
    held = held_operations(flow, [n for n, fmt in by_name.items() if fmt != "fp32"], input_held=input_held)
    last = len(flow) - 1
    held = (held | {last} if next_asks else held) if part.name != "classifier" else held - {last}
    sketch = Sketch(flow, dict(zip(names, part.layers, strict=True)), by_name, held, unpacked)
    outline = sketch.draw(source, is_signed=input_signed)
    return Piece(
        size_bytes=outline.size_bytes,
        node_uses=tuple(outline.node_uses),
        constant_uses=tuple(outline.constant_uses),
        input_uses=outline.input_uses,
        grid_uses=outline.grid_uses,
        zero_points=outline.zero_points,
        scalars=tuple((name, *uses) for name, uses in outline.scalars.items()),
        restored_bits=frozenset(outline.restored_bits),
        nodes=tuple(outline.nodes),
        source=source,
        source_bytes=1 if input_held else 4,
        out=sketch.result,
        is_held=last in held,
        is_signed=sketch.is_signed,
    )
