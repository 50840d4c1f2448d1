"""ONNX files entropy-coded: where the tensors lie in a file's bytes, and as what numbers they may be seen.

The bytes are read as protocol buffers, so that a coded file gives back the file byte for byte, whoever wrote it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from compressors.coding.container import coded
from compressors.coding.spans import Span

HUFFMAN = ("plain", "huffman")  # coders as in Deep Compression; plain bytes go to a general coder with all the rest
SMALLEST = 16  # bytes of a tensor that is coded apart from the rest
LARGEST_JOINT = 2048  # bytes of numbers that are coded with others of their type: scales and biases
WORDS = ("words of 4 bytes",)
# Numbers of fields of the messages ModelProto, GraphProto and TensorProto.
GRAPH, INITIALIZER, DIMS, DATA_TYPE, RAW_DATA = 7, 5, 1, 2, 9
FIXED = {1: 8, 5: 4}  # bytes of fields of these types on the wire; type 0 is a number of any length, 2 has its length
VIEWS_OF: dict[int, tuple[str, ...]] = {
    TensorProto.FLOAT: WORDS,
    TensorProto.INT32: WORDS,
    TensorProto.UINT32: WORDS,
    TensorProto.INT64: ("words of 8 bytes",),
    TensorProto.DOUBLE: ("words of 8 bytes",),
    TensorProto.FLOAT16: ("words of 2 bytes",),
    TensorProto.BFLOAT16: ("words of 2 bytes",),
    TensorProto.INT8: ("int8",),
    TensorProto.INT4: ("4 bits, signed",),
    TensorProto.UINT4: ("4 bits",),
    TensorProto.INT2: ("2 bits, signed",),
    TensorProto.UINT2: ("2 bits",),
}
# Bytes may be codes packed by the file's own operations.
PACKED = ("bits", "bits, lowest first", "2 bits", "4 bits", *(f"{bits} planes" for bits in range(2, 8)))


@dataclass(frozen=True)
class Field:
    """A field of a message: its number, and where its value lies in the bytes, or the number it is."""

    number: int
    start: int
    stop: int
    value: int = 0


@dataclass(frozen=True)
class Stored:
    """A tensor of a file: its type and shape, and where its bytes lie."""

    kind: int
    dims: tuple[int, ...]
    start: int
    stop: int


def coded_file(data: bytes, coders: tuple[str, ...] | None = None) -> bytes:
    """The coded file of an ONNX file; `compressors.coding.container.decoded` gives it back byte for byte.

    Bytes that are no ONNX file are coded as a whole. With all coders it is never larger than with Huffman codes alone.
    """
    tensors = spans(data)
    ways = (None, HUFFMAN) if coders is None else (coders,)
    return min((coded(data, tensors, way) for way in ways), key=len)


def spans(data: bytes) -> list[Span]:
    """The tensors in a file's graph that are worth coding by themselves."""
    try:
        tensors = list(_tensors(data))
        shapes = {_shape(dims) for t in tensors if (dims := _told(data, t))}
    except (ValueError, IndexError):
        return []
    return [_span(tensor, shapes) for tensor in tensors if tensor.stop - tensor.start >= SMALLEST]


def _span(tensor: Stored, shapes: set[tuple[int, int]]) -> Span:
    own, size = _shape(tensor.dims), tensor.stop - tensor.start
    views, tried = VIEWS_OF.get(tensor.kind, ("bytes",)), [own]
    if tensor.kind == TensorProto.UINT8:
        views = ("bytes", *PACKED)
        tried += [*sorted(shapes), *((1, size * 8 // bits) for bits in (1, 2, 4))]
    joint = f"type {tensor.kind}" if views == WORDS and size <= LARGEST_JOINT else ""
    is_float = tensor.kind == TensorProto.FLOAT and size % 4 == 0
    return Span(tensor.start, tensor.stop, views, tuple(dict.fromkeys(tried)), is_float, joint)


def _shape(dims: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a tensor: output channels, and what each of them reads."""
    return (dims[0], math.prod(dims[1:])) if len(dims) > 1 else (1, math.prod(dims))


def _told(data: bytes, tensor: Stored) -> tuple[int, ...] | None:
    """The shape that a tensor of whole numbers may stand for: that of codes which operations unpack."""
    if tensor.kind != TensorProto.INT64 or len(tensor.dims) != 1 or not 1 <= tensor.dims[0] <= 4:
        return None
    dims = tuple(np.frombuffer(data[tensor.start : tensor.stop], "<i8").tolist())
    return dims if all(0 < dim < 2**31 for dim in dims) else None


def _tensors(data: bytes) -> Iterator[Stored]:
    """The initializers whose numbers are stored as bytes. Raises ValueError, IndexError: no protocol buffers."""
    for graph in _fields(data, 0, len(data)):
        for item in _fields(data, graph.start, graph.stop) if graph.number == GRAPH else ():
            if item.number == INITIALIZER and (tensor := _tensor(data, item)) is not None:
                yield tensor


def _tensor(data: bytes, item: Field) -> Stored | None:
    dims, kind, place = list[int](), 0, None
    for own in _fields(data, item.start, item.stop):
        if own.number == DIMS and own.start == own.stop:
            dims.append(own.value)
        elif own.number == DIMS:  # packed
            at = own.start
            while at < own.stop:
                dim, at = _varint(data, at)
                dims.append(dim)
        elif own.number == DATA_TYPE:
            kind = own.value
        elif own.number == RAW_DATA:
            place = own
    return Stored(kind, tuple(dims), place.start, place.stop) if place is not None else None


def _fields(data: bytes, start: int, stop: int) -> Iterator[Field]:
    at = start
    while at < stop:
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield Field(tag >> 3, at, at, value)
            case 2:
                length, at = _varint(data, at)
                if at + length > stop:
                    raise ValueError(f"a field of {length} bytes, of which there are {stop - at}")
                yield Field(tag >> 3, at, at + length)
                at += length
            case kind if kind in FIXED:
                at += FIXED[kind]
            case kind:
                raise ValueError(f"a field of type {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number longer than 63 bits")
