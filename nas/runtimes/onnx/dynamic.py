"""A linear layer that finds the range of its inputs as it runs: DynamicQuantizeLinear and MatMulInteger."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from compressors.quantization.dynamic import DynamicLinear
from nas.runtimes.onnx.weights import WEIGHT_SCALE
from nas.runtimes.onnx.writer import Writer, array_of


def write_dynamic_linear(writer: Writer, source: str, name: str, module: DynamicLinear) -> str:
    """(N, in) -> (N, out), in nodes that ONNX Runtime fuses to one DynamicQuantizeMatMul."""
    codes, scale, zero_point = writer.add_many("DynamicQuantizeLinear", [source], 3)
    weight = writer.constant(np.ascontiguousarray(array_of(module.codes).T))
    zeros = writer.constant(np.zeros(len(module.scales), np.int8))
    products = writer.add("MatMulInteger", [codes, weight, zero_point, zeros], name=name)
    scales = writer.constant(array_of(module.scales), name + WEIGHT_SCALE)
    step = writer.add("Mul", [scale, scales])
    floats = writer.add("Mul", [writer.add("Cast", [products], to=TensorProto.FLOAT), step])
    return writer.add("Add", [floats, writer.constant(array_of(module.bias))])
