"""Tensors among a file's bytes: as what numbers each is seen, so that it is smallest, or what it is a multiple of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from compressors.coding.coders import Coding, best_coding
from compressors.coding.symbols import Array
from compressors.coding.views import VIEWS

Seen = tuple[int, tuple[int, int], tuple[Array, ...]]  # a view, rows and columns, and the parts
QUICK, CLOSE = ("constant", "plain", "range"), 1.2  # coders that tell which views are worth more time, and how close


@dataclass(frozen=True)
class Span:
    """Bytes of a file from `start` to `stop` that hold a tensor.

    views: names of VIEWS by which they may be seen. shapes: (rows, columns) of what is seen, to try.
    is_float32: whether they are little-endian floats, which may be those of an earlier span times a number.
    joint: spans with the same word are coded as one: short ones would each have to learn what they have in common.
    """

    start: int
    stop: int
    views: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    is_float32: bool = False
    joint: str = ""


@dataclass(frozen=True)
class Piece:
    """How a span is coded: a view, rows and columns, and the coding of each part."""

    view: int
    shape: tuple[int, int]
    codings: tuple[Coding, ...]
    parts: tuple[Array, ...] = field(repr=False)

    @property
    def bits(self) -> float:
        return sum(coding.bits for coding in self.codings)


def best_piece(data: bytes, span: Span, coders: tuple[str, ...] | None = None) -> Piece:
    """The view and shape that make a span smallest; bytes in a row where none of them fits."""
    seen = _seen(data, span) or _seen(data, as_bytes(span))
    quick = [_piece(one, QUICK if coders is None else coders) for one in seen]
    least = min(piece.bits for piece in quick)
    if coders is None:  # what learns more takes time: only where it may win
        quick += [_piece(one, None) for one, piece in zip(seen, quick, strict=True) if piece.bits <= CLOSE * least]
    return min(quick, key=lambda piece: piece.bits)


def _piece(seen: Seen, coders: tuple[str, ...] | None) -> Piece:
    number, shape, parts = seen
    return Piece(number, shape, tuple(best_coding(part, coders) for part in parts), parts)


def as_bytes(span: Span) -> Span:
    """The span as bytes in a row."""
    return Span(span.start, span.stop, ("bytes",), ((1, span.stop - span.start),))


def _seen(data: bytes, span: Span) -> list[Seen]:
    """The views and shapes that fit, and what is seen; of one view a single row only where it has no other shape."""
    found: list[Seen] = []
    for number, view in enumerate(VIEWS):
        shapes = span.shapes if view.name in span.views else ()
        own = [(number, shape, parts) for shape in shapes if (parts := view.parts(data, *shape))]
        found += [one for one in own if min(one[1]) > 1] or own[:1]
    return found


def multiple_of(data: bytes, before: Sequence[Span], span: Span) -> tuple[int, bytes] | None:
    """Which earlier span's floats, times which float, this span's are: a bias's scales are its weight's."""
    if not span.is_float32:
        return None
    own = np.frombuffer(data[span.start : span.stop], "<f4")
    for which, other in reversed(list(enumerate(before))):
        if other.is_float32 and other.stop - other.start == span.stop - span.start:
            theirs = np.frombuffer(data[other.start : other.stop], "<f4")
            if (factor := _factor(theirs, own)) is not None:
                return which, factor
    return None


def _factor(theirs: Array, own: Array) -> bytes | None:
    """The float32 that takes one array to the other exactly, among those next to the quotient."""
    with np.errstate(all="ignore"):
        first = np.float32(np.float64(own[0]) / np.float64(theirs[0]))
        near = [first, np.nextafter(first, np.float32(np.inf)), np.nextafter(first, np.float32(-np.inf))]
        for factor in near:
            if (theirs * factor).astype("<f4").tobytes() == own.tobytes():
                return np.asarray(factor, "<f4").tobytes()
    return None
