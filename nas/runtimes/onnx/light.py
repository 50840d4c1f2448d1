"""A model without its weights: what is checked and inferred of a graph passes over copies of it. No torch."""

from __future__ import annotations

import math

import onnx
from onnx import helper

LARGE = 1024  # elements of a stored value; no shape, and no list of places, has as many


def without_large_values(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with inputs in the places of large stored values."""
    large = [weight for weight in model.graph.initializer if math.prod(weight.dims) > LARGE]
    copy = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    graph, listed = copy.graph, {value.name for value in model.graph.input}
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.initializer.extend(weight for weight in model.graph.initializer if math.prod(weight.dims) <= LARGE)
    graph.sparse_initializer.extend(model.graph.sparse_initializer)
    graph.input.extend(model.graph.input)
    for weight in large:
        if weight.name not in listed:
            graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    return copy
