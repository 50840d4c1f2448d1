"""A masked weight as a bit mask and the values it keeps, where that is smaller; a function of the file joins them.

The function holds standard operations only: a running sum over the mask says which of the kept values stands where. A
runtime folds it to a constant when it loads the file, and then runs the kernels that it runs with the dense weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compressors.formats import Format
from nas.runtimes.onnx.packing import FUNCTIONS
from nas.runtimes.onnx.storage import Storage

if TYPE_CHECKING:
    from nas.runtimes.onnx.writer import Writer

UNMASK = "Unmask"
OVERHEAD_BYTES = 64  # of the mask, the shape and the node, as good as always


def is_smaller(weights: int, kept: int, bits: int) -> bool:
    """Whether a mask and the kept ones of so many weights, of so many bits each, take less than all of them."""
    sparse = mask_bytes(weights) + -(-kept * bits // 8) + OVERHEAD_BYTES
    return sparse < -(-weights * bits // 8)


def stores_mask(row: Format, weights: int, kept: int, storage: Storage) -> bool:
    """Whether a masked weight is stored as its mask and what that keeps: where that is smaller, and where no code of
    the format stands for zero. Not where it may be stored dense only, or where zero has no one code.
    """
    if storage.is_dense or row.has_zero_points:
        return False
    bits = 8 if row.name in storage.as_int8 else row.bits
    return not row.has_zero or is_smaller(weights, kept, bits)


def mask_bytes(weights: int) -> int:
    return -(-weights // 8)


def unmasked(writer: Writer, mask: np.ndarray[Any, Any], values: str) -> str:
    """The dense weight: `values` (kept,) where the mask is true, else 0. Of a layer that runs twice it is one."""
    for node in writer.nodes:
        if node.op_type == UNMASK and node.input[1] == values:
            return str(node.output[0])
    bits = writer.constant(np.packbits(mask.reshape(-1))[:, None])
    shape = writer.constant(np.array(mask.shape, np.int64))
    writer.functions[UNMASK] = unmask_function
    return writer.add(UNMASK, [bits, values, shape], domain=FUNCTIONS)


def unmask_function(opset: int) -> onnx.FunctionProto:
    """The function from (mask, values, shape) to values of that shape: of integers or floats, 0 where there is none."""

    def constant(name: str, value: Any) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value), name))

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(op, inputs, [output], **attributes)

    nodes = [
        constant("shifts", np.arange(7, -1, -1, dtype=np.uint8)),
        constant("one", np.uint8(1)),
        constant("first", np.array([0], np.int64)),
        constant("flat", np.array([-1], np.int64)),
        constant("axis", np.int64(0)),
        constant("in_front", np.array([1, 0], np.int64)),
        node("BitShift", ["mask", "shifts"], "shifted", direction="RIGHT"),
        node("BitwiseAnd", ["shifted", "one"], "bits"),
        node("Reshape", ["bits", "flat"], "padded"),
        node("ReduceProd", ["shape"], "count", keepdims=1),
        node("Slice", ["padded", "first", "count"], "marks"),
        node("Cast", ["marks"], "kept", to=TensorProto.INT32),
        node("CumSum", ["kept", "axis"], "places"),
        node("Mul", ["places", "kept"], "indices"),
        node("Pad", ["values", "in_front"], "zero_and_values"),
        node("Gather", ["zero_and_values", "indices"], "found", axis=0),
        node("Reshape", ["found", "shape"], "dense"),
    ]
    domains = [helper.make_opsetid("", opset)]
    return helper.make_function(FUNCTIONS, UNMASK, ["mask", "values", "shape"], ["dense"], nodes, domains)
