"""How the weight and bias of a quantized layer are stored: codes behind DequantizeLinear, packed as their format says.

How the codes of a format are stored is a row of STORES.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from compressors.formats import FORMATS
from compressors.quantization.numerics import PackedWeight
from nas.runtimes.onnx.layer_names import WEIGHT_SCALE
from nas.runtimes.onnx.packing import FUNCTIONS, NARROW, UNPACK, Codes, pack, to_planes, unpack_function
from nas.runtimes.onnx.sparse import stores_mask, unmasked
from nas.runtimes.onnx.writer import UnknownOperation, Writer, array_of


def dequantized(writer: Writer, layer: str, packed: PackedWeight) -> tuple[str, str]:
    """Weight and bias as stored codes behind DequantizeLinear."""
    zero_points = [] if packed.zero_points is None else [writer.constant(array_of(packed.zero_points))]
    scales = array_of(packed.scales)
    axis: dict[str, Any] = {"axis": 0} if scales.ndim else {}
    scale = writer.constant(scales, layer + WEIGHT_SCALE)
    codes = _int8_codes(writer, layer, packed)
    weight = writer.add("DequantizeLinear", [codes, scale, *zero_points], **axis)
    bias_codes = writer.constant(array_of(packed.bias_codes))
    bias_scale = writer.constant((np.float32(packed.input_scale) * scales).astype(np.float32))
    return weight, writer.add("DequantizeLinear", [bias_codes, bias_scale], **axis)


def _int8_codes(writer: Writer, layer: str, packed: PackedWeight) -> str:
    """The int8 codes of a weight, from what is stored: constants that the runtime folds when it loads the file.

    With a codebook the packed codes are indices, of which negative ones count from the end, as Gather takes them.
    """
    codes = array_of(packed.codes)
    if packed.mask is None or bool(packed.mask.all()):
        return _entries(writer, layer, packed, codes)
    mask, row = array_of(packed.mask), FORMATS[packed.format]
    if stores_mask(row, mask.size, int(mask.sum()), writer.storage):
        return unmasked(writer, mask, _entries(writer, layer, packed, codes[mask]))
    if row.has_zero:
        return _entries(writer, layer, packed, codes)
    entries = codes if packed.codebook is None else array_of(packed.codebook)[codes]
    return writer.constant(np.where(mask, entries, 0).astype(np.int8))


def _entries(writer: Writer, layer: str, packed: PackedWeight, codes: Codes) -> str:
    """What these codes of a weight stand for, in int8."""
    if packed.format in writer.storage.as_int8:
        return writer.constant(codes if packed.codebook is None else array_of(packed.codebook)[codes])
    store = STORES.get(packed.format)
    if store is None:
        raise UnknownOperation(f"{layer}: no ONNX rule for weights of format {packed.format}, only {', '.join(STORES)}")
    if packed.codebook is None:
        return store(writer, codes, TensorProto.INT8)
    indices = store(writer, codes, TensorProto.INT32)
    return writer.add("Gather", [writer.constant(array_of(packed.codebook)), indices], axis=0)


def float_weight(writer: Writer, layer: str, weight: Codes, mask: Codes | None) -> str:
    """A weight of floats, as it is, or as a mask and what that keeps where it has one and this is smaller."""
    name = f"{layer}.weight"
    if mask is None or not stores_mask(FORMATS["fp32"], mask.size, int(mask.sum()), writer.storage):
        return writer.constant(weight, name)
    return unmasked(writer, mask, writer.constant(weight[mask], name))


Store = Callable[[Writer, Codes, int], str]
"""Stores codes; the result is a value of them in an ONNX type, INT8 or INT32."""


def store_plain(writer: Writer, codes: Codes, to: int) -> str:
    """A byte per code."""
    stored = writer.constant(codes)
    return stored if to == TensorProto.INT8 else writer.add("Cast", [stored], to=to)


def store_packed(kind: int, bits: int) -> Store:
    """ONNX's own narrow type, and a cast."""

    def store(writer: Writer, codes: Codes, to: int) -> str:
        name = f"c{len(writer.weights)}"
        packed = pack(codes, bits).tobytes()
        writer.weights.append(helper.make_tensor(name, kind, codes.shape, packed, raw=True))
        return writer.add("Cast", [name], to=to)

    return store


def store_planes(bits: int) -> Store:
    """Bit planes, and a function of the file's own that joins them."""

    def store(writer: Writer, codes: Codes, to: int) -> str:
        planes = writer.constant(to_planes(codes, bits))
        shape = writer.constant(np.array(codes.shape, np.int64))
        function = f"{UNPACK}{bits}"
        writer.functions[function] = partial(unpack_function, bits)
        restored = writer.add(function, [planes, shape], domain=FUNCTIONS)
        return restored if to == TensorProto.INT8 else writer.add("Cast", [restored], to=to)

    return store


def _store_of(bits: int) -> Store:
    """The smallest store of codes of so many bits."""
    return store_plain if bits == 8 else store_packed(NARROW[bits], bits) if bits in NARROW else store_planes(bits)


# Format of weights -> how its codes are stored.
STORES: dict[str, Store] = {name: _store_of(row.bits) for name, row in FORMATS.items() if not row.is_float}
