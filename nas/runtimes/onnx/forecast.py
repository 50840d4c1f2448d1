"""The size and the peak memory of a candidate's file before it is built, in closed form. No torch.

Both are sums over the network's parts, each drawn once: thousands of candidates are made of few different parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

from compressors.formats import FORMATS
from compressors.plan import CompressionPlan
from compressors.requests.masked import STEP, Mask
from nas.candidates.candidate import Candidate, shapes_file
from nas.candidates.runs import Run, runs_of
from nas.candidates.shaping import SHAPINGS
from nas.candidates.zeros import mask_of_plan, zeros_of
from nas.runtimes.onnx.model import FunctionMaker, graph_of, model_of
from nas.runtimes.onnx.operations import Unforetold
from nas.runtimes.onnx.outline import Map
from nas.runtimes.onnx.packing import UNPACK, unpack_function
from nas.runtimes.onnx.peak import peak_of_part
from nas.runtimes.onnx.pieces import Piece, letters
from nas.runtimes.onnx.placing import fixed_operations, held_operations, led_out
from nas.runtimes.onnx.sizes import framed, tensor_bytes
from nas.runtimes.onnx.sketch import (
    BOUNDS,
    DYNAMIC,
    FLOATS,
    PIXEL_SCALE,
    SIGMOID_POWER,
    ZERO,
    Sketch,
)
from nas.runtimes.onnx.sparse import UNMASK, unmask_function
from nas.runtimes.onnx.storage import SMALLEST, Storage
from nas.runtimes.runtime import FileForecast, FileHeader
from search_spaces.flows import INPUT, Flow

FORETOLD = frozenset({*SHAPINGS, STEP, DYNAMIC})  # steps that change no more of a file than the parts and masks say
ZERO_POINTS = 40  # different zero points of grids with negative values, as good as equally likely
POWER_SCALES = 7  # different scales of grids that are powers of two
SCALAR_BYTES = {
    name: tensor_bytes((), 1 if name == ZERO else 4) for name in (PIXEL_SCALE, SIGMOID_POWER, ZERO, *BOUNDS)
}
ZERO_POINT_BYTES, SCALE_BYTES = (tensor_bytes((), length) + 3 for length in (1, 4))  # with its name
SIZE_SD = 4.0  # in bytes


class Asked(NamedTuple):
    """What a part asks of the result before it: that it is held in codes, and on a scale that is a power of two."""

    in_codes: bool
    fixed: bool


NOTHING_ASKED = Asked(in_codes=False, fixed=False)


def forecast(candidate: Candidate, header: FileHeader, storage: Storage = SMALLEST) -> FileForecast | None:
    """Size and peak memory of the file; None for networks of which it is not known what they do, for steps that are
    not known here, and where shapes or zeros depend on weights.

    The size is exact but for what depends on weights: which zero points and scales of activations are equal, and are
    stored once.
    """
    if (
        not FORETOLD.issuperset(name for name in candidate.plan.steps if shapes_file(name))
        or candidate.depends_on_weights
    ):
        return None
    mask, dense = mask_of_plan(candidate.plan), replace(storage, is_dense=True)
    ways = {dense} if mask is None else {dense, storage}
    found = [_pieces(candidate, len(header.class_names), way, mask) for way in ways]
    files = [_forecast(pieces, header) for pieces in found if pieces is not None]
    return min(files, key=lambda file: file.size_bytes, default=None)


def _forecast(pieces: Sequence[Piece], header: FileHeader) -> FileForecast:
    content = sum(piece.size_bytes for piece in pieces) + letters(pieces)
    content += sum(SCALAR_BYTES[name] for name in {name for piece in pieces for name, _, _ in piece.scalars})
    zeros = _repeated(sum(piece.zero_points for piece in pieces), ZERO_POINTS)
    powers = _repeated(sum(piece.power_scales for piece in pieces), POWER_SCALES)
    bits = frozenset[int]().union(*(piece.restored_bits for piece in pieces))
    outside, inside = _envelope(header, bits, any(piece.unmasks for piece in pieces))
    size = outside + framed(inside + content) - zeros * ZERO_POINT_BYTES - powers * SCALE_BYTES
    size_sd = SIZE_SD + ZERO_POINT_BYTES * zeros**0.5 + SCALE_BYTES * powers**0.5
    return FileForecast(size, size_sd, lambda: max(map(_peak, pieces)))


def _repeated(values: int, kinds: int) -> float:
    """How many of so many values are equal to earlier ones, where each is one of `kinds`, as good as equally likely."""
    return max(0.0, values - kinds * (1 - (1 - 1 / kinds) ** values))


@lru_cache(maxsize=1 << 14)
def _peak(piece: Piece) -> int:
    return peak_of_part(piece.nodes, piece.source, piece.source_bytes)


@lru_cache(maxsize=1 << 8)
def _envelope(header: FileHeader, restored_bits: frozenset[int], unmasks: bool) -> tuple[int, int]:
    """Bytes of a model without nodes: around its graph, with the functions that restore such codes, and in it."""
    graph = graph_of([], [], header)
    functions: dict[str, FunctionMaker] = {f"{UNPACK}{bits}": partial(unpack_function, bits) for bits in restored_bits}
    functions |= {UNMASK: unmask_function} if unmasks else {}
    inside = graph.ByteSize()
    return model_of(graph, header, functions).ByteSize() - framed(inside), inside


def _pieces(candidate: Candidate, num_classes: int, storage: Storage, mask: Mask | None) -> list[Piece] | None:
    """The pieces of a network's runs, in order; None where it is not known what it does."""
    architecture, plan = candidate.architecture, candidate.plan
    runs = runs_of(candidate, num_classes)
    if runs is None:
        return None
    formats = [_as_run(tuple(plan.format_of(layer.name) for layer in run.layers), plan) for run in runs]
    asks: list[Asked | None] = [_asks_of(run, given) for run, given in zip(runs, formats, strict=True)]
    pieces, source = list[Piece](), Map(architecture.input_channels, architecture.input_size)
    held, signed, fixed = False, False, False
    for run, given, next_asks in zip(runs, formats, [*asks[1:], None], strict=True):
        piece = _piece(run, given, source, held, signed, fixed, next_asks, storage, zeros_of(run.layers, mask))
        if piece is None:
            return None
        pieces.append(piece)
        source, held, signed, fixed = piece.out, piece.is_held, piece.is_signed, piece.is_fixed
    return pieces


def _as_run(formats: tuple[str, ...], plan: CompressionPlan) -> tuple[str, ...]:
    return tuple(DYNAMIC if fmt != "fp32" else fmt for fmt in formats) if DYNAMIC in plan.steps else formats


@lru_cache(maxsize=1 << 16)
def _asks_of(run: Run, formats: tuple[str, ...]) -> Asked:
    by_name = dict(zip(run.names, formats, strict=True))
    in_codes = any(o.op == "layer" and INPUT in o.reads and by_name[o.layer] not in FLOATS for o in run.flow)
    return Asked(in_codes, INPUT in _fixed(run.flow, by_name))


def _fixed(
    flow: Flow, by_name: Mapping[str, str], *, input_fixed: bool = False, output_fixed: bool = False
) -> set[int]:
    layers = [name for name, fmt in by_name.items() if fmt not in FLOATS and FORMATS[fmt].is_fixed_point]
    return fixed_operations(flow, layers, input_fixed=input_fixed, output_fixed=output_fixed)


@lru_cache(maxsize=1 << 16)
def _piece(
    run: Run, formats: tuple[str, ...], source: Map, input_held: bool, input_signed: bool, input_fixed: bool,
    next_asks: Asked | None, storage: Storage, zeros: tuple[int, ...],
) -> Piece | None:  # fmt: skip
    """The piece of a run; `next_asks` is what the run behind it asks, None of the last one. None where it does what no
    file is foretold of.
    """
    flow, by_name = run.flow, dict(zip(run.names, formats, strict=True))
    held = held_operations(flow, [n for n, fmt in by_name.items() if fmt not in FLOATS], input_held=input_held)
    last, asked = len(flow) - 1, next_asks or NOTHING_ASKED
    held = led_out(flow, held) if next_asks is None else held | {last} if asked.in_codes else held
    fixed = _fixed(flow, by_name, input_fixed=input_fixed, output_fixed=asked.fixed)
    masked = dict(zip(run.names, zeros, strict=True)) if zeros else {}
    sketch = Sketch(flow, run.by_name, by_name, held, fixed, storage, masked)
    try:
        outline = sketch.draw(source, is_signed=input_signed)
    except Unforetold:
        return None
    return Piece(
        size_bytes=outline.size_bytes,
        node_uses=tuple(outline.node_uses),
        constant_uses=tuple(outline.constant_uses),
        input_uses=outline.input_uses,
        grid_uses=outline.grid_uses,
        zero_points=outline.zero_points,
        power_scales=outline.power_scales,
        scalars=tuple((name, *uses) for name, uses in outline.scalars.items()),
        restored_bits=frozenset(outline.restored_bits),
        unmasks=outline.unmasks,
        nodes=tuple(outline.nodes),
        source=source,
        source_bytes=1 if input_held else 4,
        out=sketch.result,
        is_held=last in held,
        is_signed=sketch.is_signed,
        is_fixed=last in fixed,
    )
