"""The latency terms of a network that says what it does in runs of operations. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from nas.candidates.candidate import Candidate
from nas.candidates.runs import Run, runs_of
from nas.measuring.latency_work import Format, Held, LayerWalk, Piece, Tally
from search_spaces.flows import INPUT, Operation
from search_spaces.layers import LayerSpec


def pieces_of_runs(candidate: Candidate, num_classes: int) -> list[Piece]:
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
    tally, layers = Tally(), run.by_name
    walk = LayerWalk(dict(zip((layer.name for layer in run.layers), formats, strict=True)), tally, source.held, 0)
    results = {INPUT: source}
    for number, operation in enumerate(run.flow):
        reads = [results[read] for read in operation.reads]
        results[number] = _operation(walk, operation, reads, layers.get(operation.layer))
    out = results[len(run.flow) - 1]
    return tally.closed(out.held, 1), out


def _operation(walk: LayerWalk, operation: Operation, reads: Sequence[Source], layer: LayerSpec | None) -> Source:
    """Tally an operation; returns what it gives."""
    first = reads[0]
    if layer is not None:
        walk.held, walk.side = first.held, 0  # an average counts by itself
        return Source(walk.layer(layer), layer.out_channels, layer.output_pixels)
    given = _given(operation, reads)
    if operation.op == "average":
        walk.tally.event(f"averaged/{first.held}/{first.kept}", first.elements)
    elif operation.op == "add":
        walk.tally.event(f"added/{first.held}/{reads[1].kept}", given.elements)
    elif operation.op in _BETWEEN:
        moved = max(given.elements, *(read.elements for read in reads))
        walk.tally.event(f"{_BETWEEN[operation.op]}/{given.kept}", moved)
    return given


def _given(operation: Operation, reads: Sequence[Source]) -> Source:
    """What an operation between layers gives: codes where all that it reads are codes."""
    first, channels = reads[0], reads[0].channels
    if operation.op == "concatenate":
        channels = sum(read.channels for read in reads)
    elif operation.op == "select":
        channels = min(channels, len(dict(operation.fields)["channels"]))
    elif operation.op == "flatten":
        channels = first.elements
    held: Held = "integer" if all(read.kept == "integer" for read in reads) else "float"
    pixels = first.pixels if operation.size is None else math.prod(operation.size)
    return Source(first.held if operation.op == "normalize" else held, channels, pixels)
