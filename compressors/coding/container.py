"""A coded file: the sha256 of a file, its bytes without its tensors, and its tensors, each as it is smallest.

Nothing of the file's format is needed to give the file back: a tensor is a span of its bytes.
"""

from __future__ import annotations

import hashlib
import lzma
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from compressors.coding.coders import Sink, Source, read, write
from compressors.coding.numbers import Damaged, NumberReader, NumberWriter
from compressors.coding.spans import Span, best_piece, multiple_of
from compressors.coding.squeezing import squeezed, unsqueezed
from compressors.coding.symbols import Array
from compressors.coding.views import VIEWS

MAGIC, VERSION = b"NASZ", 1
# How a span is told from the others: coded by itself, a multiple of another, or one of a joint of this number and on.
OWN, MULTIPLE, JOINT = 0, 1, 2
# What reading raises where numbers in the file are not those that writing puts there.
FORGED = (
    ValueError, TypeError, LookupError, ArithmeticError, MemoryError, zlib.error, lzma.LZMAError,
    AssertionError,  # of constriction
)  # fmt: skip


def coded(data: bytes, spans: Iterable[Span], coders: tuple[str, ...] | None = None) -> bytes:
    """The coded file of `data`, whose `spans` do not overlap; tensors by the coders named alone, where any are."""
    ordered, sink = sorted(spans, key=lambda span: span.start), Sink()
    groups = _write_index(sink.plain, data, ordered)
    for group in groups:
        _write_group(sink, b"".join(data[span.start : span.stop] for span in group), group, coders)
    rest = _between(data, ordered)
    body = NumberWriter()
    body.put(len(rest))
    for section in (rest, bytes(sink.plain.data)):
        body.put_bytes(squeezed(section))
    body.put_bytes(sink.range_coded())
    head = hashlib.sha256(data).digest() + bytes(body.data)
    return MAGIC + bytes([VERSION]) + zlib.crc32(head).to_bytes(4, "big") + head


def _write_index(plain: NumberWriter, data: bytes, spans: Sequence[Span]) -> list[list[Span]]:
    """Write where every span lies and how it is coded; returns those that are coded as one, in the order of the first.

    Raises ValueError where spans overlap.
    """
    groups: dict[str | int, list[Span]] = {}
    joints: list[str] = []
    at = 0
    plain.put(len(spans))
    for index, span in enumerate(spans):
        if span.start < at:
            raise ValueError(f"spans: expected one that begins at {at} or later, got {span.start}")
        plain.put(span.start - at, span.stop - span.start)
        at = span.stop
        if (multiple := multiple_of(data, spans[:index], span)) is not None:
            which, factor = multiple
            plain.put(MULTIPLE, index - which)
            plain.data += factor
            continue
        groups.setdefault(span.joint or index, []).append(span)
        if span.joint and span.joint not in joints:
            joints.append(span.joint)
        plain.put(JOINT + joints.index(span.joint) if span.joint else OWN)
    return list(groups.values())


def _between(data: bytes, spans: Sequence[Span]) -> bytes:
    """All that lies in no span."""
    starts = [0, *(span.stop for span in spans)]
    stops = [*(span.start for span in spans), len(data)]
    return b"".join(data[start:stop] for start, stop in zip(starts, stops, strict=True))


def _write_group(sink: Sink, data: bytes, group: Sequence[Span], coders: tuple[str, ...] | None) -> None:
    first = group[0]
    whole = first if len(group) == 1 else Span(0, len(data), first.views, _rows_of(len(data)))
    piece = best_piece(data, whole, coders)
    sink.plain.put(piece.view, *piece.shape)
    for part, coding in zip(piece.parts, piece.codings, strict=True):
        write(sink, part, coding)


def _rows_of(size: int) -> tuple[tuple[int, int], ...]:
    """Single rows of as many numbers as bytes may be."""
    return tuple((1, size // width) for width in (1, 2, 4, 8) if size % width == 0)


def decoded(blob: bytes) -> bytes:
    """The file that `coded` was given. Raises Damaged, with what is wrong, for any other bytes."""
    if blob[: len(MAGIC)] != MAGIC:
        raise Damaged("is no coded file: it does not begin with NASZ")
    if blob[4:5] != bytes([VERSION]):
        raise Damaged(f"is a coded file of another version: expected {VERSION}, got {blob[4:5].hex() or 'none'}")
    if zlib.crc32(blob[9:]).to_bytes(4, "big") != blob[5:9]:
        raise Damaged("is damaged: its check sum does not fit its content")
    try:
        data = _decoded(NumberReader(blob[41:]))
    except FORGED as error:
        raise Damaged(f"is damaged: {' '.join(str(error).split()) or type(error).__name__}") from None
    if hashlib.sha256(data).digest() != blob[9:41]:
        raise Damaged("does not give the file back that it was made from: the sha256 differs")
    return data


def _decoded(body: NumberReader) -> bytes:
    length = body.number()
    rest = NumberReader(unsqueezed(body.take_bytes(), length))
    plain = NumberReader(unsqueezed(body.take_bytes()))
    source = Source(plain, body.take_bytes())
    entries = [_entry(plain) for _ in range(plain.count())]
    found = _tensors(source, entries)
    whole = bytearray()
    for entry, tensor in zip(entries, found, strict=True):
        whole += rest.take(entry.gap) + tensor
    return bytes(whole + rest.rest)


@dataclass(frozen=True)
class _Entry:
    """A span as the file tells it: bytes before it, its own, how it is coded, and what it is a multiple of."""

    gap: int
    size: int
    way: int
    back: int = 0
    factor: bytes = b""


def _entry(plain: NumberReader) -> _Entry:
    gap, size, way = plain.number(), plain.number(), plain.number()
    return _Entry(gap, size, way, plain.number(), plain.take(4)) if way == MULTIPLE else _Entry(gap, size, way)


def _tensors(source: Source, entries: Sequence[_Entry]) -> list[bytes]:
    """The bytes of every span, in order."""
    groups: dict[str | int, list[int]] = {}
    for index, entry in enumerate(entries):
        if entry.way != MULTIPLE:
            groups.setdefault(index if entry.way == OWN else f"joint {entry.way}", []).append(index)
    own: dict[int, bytes] = {}
    for group in groups.values():
        joined = NumberReader(_tensor(source, sum(entries[index].size for index in group)))
        own |= {index: joined.take(entries[index].size) for index in group}
    found: list[bytes] = []
    for index, entry in enumerate(entries):
        found.append(own[index] if index in own else _multiplied(entry, found))
    return found


def _multiplied(entry: _Entry, before: Sequence[bytes]) -> bytes:
    if not 1 <= entry.back <= len(before):
        raise Damaged("a tensor in it refers to one that is not there")
    found: Array = np.frombuffer(before[-entry.back], "<f4") * np.frombuffer(entry.factor, "<f4")
    return found.astype("<f4").tobytes()


def _tensor(source: Source, size: int) -> bytes:
    number, shape = source.plain.number(), (source.plain.number(), source.plain.number())
    if number >= len(VIEWS) or not 1 <= shape[0] * shape[1] <= 8 * size:
        raise Damaged(f"a tensor in it of {size} bytes has the shape {shape}")
    data = VIEWS[number].joined([read(source, shape) for _ in range(VIEWS[number].pieces)], size)
    if len(data) != size:
        raise Damaged(f"a tensor in it has {len(data)} bytes, expected {size}")
    return data
