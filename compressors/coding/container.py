"""A coded file: the sha256 of a file, its bytes without its tensors, and its tensors, each as it is smallest.

Nothing of the file's format is needed to give the file back: a tensor is a span of its bytes.
"""

from __future__ import annotations

import hashlib
import lzma
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from compressors.coding.coders import Coding, Sink, Source, best_coding, read, write
from compressors.coding.numbers import Bytes, Damaged, Numbers
from compressors.coding.symbols import Array
from compressors.coding.views import VIEWS

MAGIC, VERSION = b"NASZ", 1
_LZMA = ({"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "lc": 3, "lp": 0, "pb": 0},)


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


Seen = tuple[int, tuple[int, int], tuple[Array, ...]]  # a view, rows and columns, and the parts
QUICK, CLOSE = ("constant", "plain", "range"), 1.2  # coders that tell which views are worth more time, and how close
# How a span is told from the others: coded by itself, a multiple of another, or one of a joint of this number and on.
OWN, MULTIPLE, JOINT = 0, 1, 2


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


def coded(data: bytes, spans: Iterable[Span], coders: tuple[str, ...] | None = None) -> bytes:
    """The coded file of `data`, whose `spans` do not overlap; tensors by the coders named alone, where any are."""
    chosen, sink = sorted(spans, key=lambda span: span.start), Sink()
    rest, at = bytearray(), 0
    groups: dict[str | int, list[Span]] = {}
    sink.plain.put(len(chosen))
    for index, span in enumerate(chosen):
        if span.start < at:
            raise ValueError(f"spans: expected one that begins at {at} or later, got {span.start}")
        rest += data[at : span.start]
        sink.plain.put(span.start - at, span.stop - span.start)
        at = span.stop
        if (multiple := _multiple(data, chosen[:index], span)) is not None:
            which, factor = multiple
            sink.plain.put(MULTIPLE, index - which)
            sink.plain.data += factor
            continue
        groups.setdefault(span.joint or index, []).append(span)
        joints = [name for name in groups if isinstance(name, str)]
        sink.plain.put(JOINT + joints.index(span.joint) if span.joint else OWN)
    rest += data[at:]
    for group in groups.values():
        _write_group(sink, b"".join(data[span.start : span.stop] for span in group), group, coders)
    body = Numbers()
    body.put(len(rest))
    for section in (bytes(rest), bytes(sink.plain.data)):
        body.put_bytes(squeezed(section))
    body.put_bytes(sink.range_coded())
    head = hashlib.sha256(data).digest() + bytes(body.data)
    return MAGIC + bytes([VERSION]) + zlib.crc32(head).to_bytes(4, "big") + head


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


def _multiple(data: bytes, before: Sequence[Span], span: Span) -> tuple[int, bytes] | None:
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


def decoded(blob: bytes) -> bytes:
    """The file that `coded` was given. Raises Damaged, with what is wrong, for any other bytes."""
    if blob[: len(MAGIC)] != MAGIC:
        raise Damaged("is no coded file: it does not begin with NASZ")
    if blob[4:5] != bytes([VERSION]):
        raise Damaged(f"is a coded file of another version: expected {VERSION}, got {blob[4:5].hex() or 'none'}")
    if zlib.crc32(blob[9:]).to_bytes(4, "big") != blob[5:9]:
        raise Damaged("is damaged: its check sum does not fit its content")
    try:
        data = _decoded(Bytes(blob[41:]))
    except (ValueError, AssertionError, zlib.error, lzma.LZMAError, MemoryError) as error:
        raise Damaged(f"is damaged: {' '.join(str(error).split()) or type(error).__name__}") from None
    if hashlib.sha256(data).digest() != blob[9:41]:
        raise Damaged("does not give the file back that it was made from: the sha256 differs")
    return data


def _decoded(body: Bytes) -> bytes:
    length = body.number()
    rest = Bytes(unsqueezed(body.take_bytes(), length))
    plain = Bytes(unsqueezed(body.take_bytes()))
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


def _entry(plain: Bytes) -> _Entry:
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
        joined = Bytes(_tensor(source, sum(entries[index].size for index in group)))
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


def squeezed(data: bytes) -> bytes:
    """Bytes as a general coder makes them smallest, after the number of the coder."""
    ways = (data, _deflate(data), lzma.compress(data, lzma.FORMAT_RAW, filters=_LZMA))
    number = min(range(len(ways)), key=lambda i: len(ways[i]))
    return bytes([number]) + ways[number]


def unsqueezed(data: bytes, most: int = 2**31) -> bytes:
    """What `squeezed` was given, which is no longer than `most`. Raises Damaged."""
    number, body = data[:1], data[1:]
    ways: dict[bytes, Callable[[], bytes]] = {
        b"\0": lambda: body,
        b"\1": lambda: zlib.decompressobj(-15).decompress(body, most),
        b"\2": lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_LZMA).decompress(body, most),
    }
    if number not in ways:
        raise Damaged("a section of it is in no known form")
    return ways[number]()


def _deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    return coder.compress(data) + coder.flush()
