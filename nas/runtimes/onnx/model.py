"""An ONNX model around its nodes: input and output, versions, and what it says about itself. No torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import onnx
from onnx import TensorProto, helper

from nas.runtimes.onnx.packing import FUNCTIONS
from nas.runtimes.runtime import FileHeader

OPSET = 21
IR_VERSION = 10
PRODUCER = "compact-nas"
_VERSION_OF = {TensorProto.INT2: (25, 13)}
FunctionMaker = Callable[[int], onnx.FunctionProto]  # of an opset's version


def graph_of(
    nodes: Sequence[onnx.NodeProto], weights: Sequence[onnx.TensorProto], header: FileHeader
) -> onnx.GraphProto:
    return helper.make_graph(nodes, PRODUCER, [_image(header)], [_logits(header)], weights)


def model_of(graph: onnx.GraphProto, header: FileHeader, makers: Mapping[str, FunctionMaker]) -> onnx.ModelProto:
    """The model, at the oldest version that knows the types it stores, with the functions it calls."""
    opset, ir_version = max(
        (_VERSION_OF.get(weight.data_type, (OPSET, IR_VERSION)) for weight in graph.initializer),
        default=(OPSET, IR_VERSION),
    )
    functions = [makers[name](opset) for name in sorted(makers)]
    domains = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(FUNCTIONS, 1)] if functions else [])
    model = helper.make_model(
        graph, producer_name=PRODUCER, opset_imports=domains, ir_version=ir_version, functions=functions
    )
    properties = {
        "class_names": json.dumps(list(header.class_names)),
        "input_size": str(header.input_size),
        "input_range": "[0, 1]",
    }
    helper.set_model_props(model, properties)
    return model


def _image(header: FileHeader) -> onnx.ValueInfoProto:
    shape: list[str | int | None] = ["N", header.channels, header.input_size, header.input_size]
    return helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)


def _logits(header: FileHeader) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(header.class_names)])
