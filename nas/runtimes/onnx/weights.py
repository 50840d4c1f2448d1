"""How the weight and bias of a quantized layer are stored: codes behind DequantizeLinear, packed as their format says.

A format is a row of STORES.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from onnx import TensorProto, helper

from compressors.formats import BITS
from compressors.quantization.numerics import PackedWeight
from nas.runtimes.onnx.packing import FUNCTIONS, UNPACK, Codes, pack, to_planes, unpack_function
from nas.runtimes.onnx.sparse import has_zero, stores_mask, unmasked
from nas.runtimes.onnx.writer import UnknownOperation, Writer, array_of

WEIGHT_SCALE = ".weight_scale"


def dequantized(writer: Writer, layer: str, packed: PackedWeight) -> tuple[str, str]:
    """Weight and bias as stored codes behind DequantizeLinear."""
    zero_points = [] if packed.zero_points is None else [writer.constant(array_of(packed.zero_points))]
    scales = array_of(packed.scales)
    scale = writer.constant(scales, layer + WEIGHT_SCALE)
    codes = _int8_codes(writer, layer, packed)
    weight = writer.add("DequantizeLinear", [codes, scale, *zero_points], axis=0)
    bias_codes = writer.constant(array_of(packed.bias_codes))
    bias_scale = writer.constant((np.float32(packed.input_scale) * scales).astype(np.float32))
    return weight, writer.add("DequantizeLinear", [bias_codes, bias_scale], axis=0)


def _int8_codes(writer: Writer, layer: str, packed: PackedWeight) -> str:
    """The int8 codes of a weight, from what is stored: constants that the runtime folds when it loads the file."""
    codes = array_of(packed.codes)
    if packed.mask is None:
        return _entries(writer, layer, packed, codes)
    mask = array_of(packed.mask)
    if _is_sparse(writer, packed, mask):
        return unmasked(writer, mask, _entries(writer, layer, packed, codes[mask]))
    if has_zero(packed.format):
        return _entries(writer, layer, packed, codes)
    entries = codes if packed.codebook is None else array_of(packed.codebook)[codes]
    return writer.constant(np.where(mask, entries, 0).astype(np.int8))


def _is_sparse(writer: Writer, packed: PackedWeight, mask: Codes) -> bool:
    """Whether the mask and what it keeps are stored, and not all codes."""
    shifts = packed.zero_points is not None and bool(packed.zero_points.any())
    if shifts or writer.stores_dense:
        return False
    bits = 8 if packed.format in writer.stored_as_int8 else BITS[packed.format]
    return stores_mask(packed.format, mask.size, int(mask.sum()), bits)


def _entries(writer: Writer, layer: str, packed: PackedWeight, codes: Codes) -> str:
    """What these codes of a weight stand for, in int8."""
    if packed.format in writer.stored_as_int8:
        return writer.constant(codes if packed.codebook is None else array_of(packed.codebook)[codes])
    store = STORES.get(packed.format)
    if store is None:
        raise UnknownOperation(f"{layer}: no ONNX rule for weights of format {packed.format}, only {', '.join(STORES)}")
    stored = store(writer, codes)
    if packed.codebook is None:
        return stored
    indices = writer.add("Cast", [stored], to=TensorProto.INT32)
    return writer.add("Gather", [writer.constant(array_of(packed.codebook)), indices], axis=0)


def float_weight(writer: Writer, layer: str, weight: Codes, mask: Codes | None) -> str:
    """A weight of floats, as it is, or as a mask and what that keeps where it has one and this is smaller."""
    name = f"{layer}.weight"
    if mask is None or writer.stores_dense or not stores_mask("fp32", mask.size, int(mask.sum()), 32):
        return writer.constant(weight, name)
    return unmasked(writer, mask, writer.constant(weight[mask], name))


Store = Callable[[Writer, Codes], str]


def store_plain(writer: Writer, codes: Codes) -> str:
    """A byte per code."""
    return writer.constant(codes)


def store_packed(kind: int, bits: int) -> Store:
    """ONNX's own narrow type, and a cast."""

    def store(writer: Writer, codes: Codes) -> str:
        name = f"c{len(writer.weights)}"
        packed = pack(codes, bits).tobytes()
        writer.weights.append(helper.make_tensor(name, kind, codes.shape, packed, raw=True))
        return writer.add("Cast", [name], to=TensorProto.INT8)

    return store


def store_planes(bits: int) -> Store:
    """Bit planes, and a function of the file's own that joins them."""

    def store(writer: Writer, codes: Codes) -> str:
        planes = writer.constant(to_planes(codes, bits))
        shape = writer.constant(np.array(codes.shape, np.int64))
        function = f"{UNPACK}{bits}"
        writer.functions[function] = partial(unpack_function, bits)
        return writer.add(function, [planes, shape], domain=FUNCTIONS)

    return store


# Format of weights -> how its codes are stored; the result is a value of int8 codes.
STORES: dict[str, Store] = {
    "int8": store_plain,
    "int6": store_planes(6),
    "int5": store_planes(5),
    "int4": store_packed(TensorProto.INT4, 4),
    "int3": store_planes(3),
    "int2": store_packed(TensorProto.INT2, 2),
}
