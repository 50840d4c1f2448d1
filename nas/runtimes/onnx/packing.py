"""Weights below 8 bits as bytes: packed codes, bit planes, and the function that gives int8 codes back.

4 and 2 bits are ONNX types of their own, followed by a Cast. Other widths are stored as bit planes, eight codes to a
byte in each, and restored by a model-local function that holds standard operations only; a single plane holds codes -1
and 1. Both are folded to int8 constants at load, so that the convolution runs on the same integer kernel as with int8
weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Codes = np.ndarray[Any, Any]
FUNCTIONS = "compact_nas"
UNPACK = "Unpack"
NARROW: Mapping[int, int] = {4: TensorProto.INT4, 2: TensorProto.INT2}  # bits -> ONNX's type of so many


def pack(codes: Codes, bits: int) -> Codes:
    """Codes of 4 or 2 bits, the first in the lowest bits of a byte, as ONNX stores INT4 and INT2; zeros at the end."""
    per_byte = 8 // bits
    flat = codes.reshape(-1).astype(np.int8)
    flat = np.pad(flat, (0, -flat.size % per_byte)).view(np.uint8) & (2**bits - 1)
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    packed: Codes = np.bitwise_or.reduce(flat.reshape(-1, per_byte) << shifts, axis=1)
    return packed


def codes_of_planes(bits: int) -> range:
    """The codes that so many planes hold, in the order of the numbers 0, 1, ... that the planes are of."""
    return range(-1, 2, 2) if bits == 1 else range(-(2 ** (bits - 1)), 2 ** (bits - 1))


def to_planes(codes: Codes, bits: int) -> Codes:
    """Bit planes (bits, ceil(n / 8), 1) of the codes' numbers, the lowest bit's plane first."""
    held = codes_of_planes(bits)
    flat = ((codes.reshape(-1).astype(np.int16) - held.start) // held.step).astype(np.uint8)
    planes = [np.packbits((flat >> bit) & 1) for bit in range(bits)]
    return np.stack(planes)[:, :, None]


def unpack_function(bits: int, opset: int) -> onnx.FunctionProto:
    """The function from (planes, shape) to int8 codes of that shape."""

    def constant(name: str, value: Any) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value), name))

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(op, inputs, [output], **attributes)

    held = codes_of_planes(bits)
    powers = (held.step * 2 ** np.arange(bits, dtype=np.int32)).reshape(-1, 1, 1)
    nodes = [
        constant("shifts", np.arange(7, -1, -1, dtype=np.uint8)),
        constant("one", np.uint8(1)),
        constant("powers", powers),
        constant("first", np.array([0], np.int64)),
        constant("flat", np.array([-1], np.int64)),
        constant("offset", np.int32(-held.start)),
        node("BitShift", ["planes", "shifts"], "shifted", direction="RIGHT"),
        node("BitwiseAnd", ["shifted", "one"], "bits"),
        node("Cast", ["bits"], "wide", to=TensorProto.INT32),
        node("Mul", ["wide", "powers"], "parts"),
        node("ReduceSum", ["parts", "first"], "sums", keepdims=0),
        node("Reshape", ["sums", "flat"], "padded"),
        node("ReduceProd", ["shape"], "count", keepdims=1),
        node("Slice", ["padded", "first", "count"], "unsigned"),
        node("Sub", ["unsigned", "offset"], "signed"),
        node("Cast", ["signed"], "narrow", to=TensorProto.INT8),
        node("Reshape", ["narrow", "shape"], "codes"),
    ]
    name, domains = f"{UNPACK}{bits}", [helper.make_opsetid("", opset)]
    return helper.make_function(FUNCTIONS, name, ["planes", "shape"], ["codes"], nodes, domains)
