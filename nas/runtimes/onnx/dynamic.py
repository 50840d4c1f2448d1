"""A linear layer that finds the range of its inputs as it runs: DynamicQuantizeLinear and MatMulInteger."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto
from torch import Tensor

from compressors.masking.layers import mask_of
from compressors.quantization.dynamic import INT8, DynamicLinear
from nas.runtimes.onnx.layer_names import WEIGHT_SCALE
from nas.runtimes.onnx.sparse import stores_mask, unmasked
from nas.runtimes.onnx.writer import Writer, array_of


def write_dynamic_linear(writer: Writer, source: str, name: str, module: DynamicLinear) -> str:
    """(N, in) -> (N, out), in nodes that ONNX Runtime fuses to one DynamicQuantizeMatMul."""
    codes, scale, zero_point = writer.add_many("DynamicQuantizeLinear", [source], 3)
    weight = _weight(writer, array_of(module.codes).T, mask_of(module))
    zeros = writer.constant(np.zeros(len(module.scales), np.int8))
    products = writer.add("MatMulInteger", [codes, weight, zero_point, zeros], name=name)
    scales = writer.constant(array_of(module.scales), name + WEIGHT_SCALE)
    step = writer.add("Mul", [scale, scales])
    floats = writer.add("Mul", [writer.add("Cast", [products], to=TensorProto.FLOAT), step])
    return writer.add("Add", [floats, writer.constant(array_of(module.bias))])


def _weight(writer: Writer, codes: np.ndarray[Any, Any], mask: Tensor | None) -> str:
    """Codes (in, out), as they are or as a mask and what that keeps."""
    marks = None if mask is None else array_of(mask).T
    if marks is None or not stores_mask(INT8, marks.size, int(marks.sum()), writer.storage):
        return writer.constant(np.ascontiguousarray(codes))
    return unmasked(writer, np.ascontiguousarray(marks), writer.constant(codes[marks]))
