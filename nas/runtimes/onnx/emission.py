"""The ONNX file of a network: its graph node by node, its input and output, and what it says about itself."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from types import MappingProxyType

import onnx
import torch
from onnx import TensorProto, helper
from torch import fx, nn

from compressors.folding import fold_batch_norm
from compressors.support import Unsupported
from nas.runtimes.onnx.nodes import write_node
from nas.runtimes.onnx.packing import FUNCTIONS
from nas.runtimes.onnx.writer import FunctionMaker, UnknownOperation, Writer
from nas.runtimes.runtime import FileHeader

OPSET = 21
IR_VERSION = 10
PRODUCER = "compact-nas"
_VERSION_OF = {TensorProto.INT2: (25, 13)}


def emit(network: fx.GraphModule, header: FileHeader, *, unpacked: Collection[str] = frozenset()) -> onnx.ModelProto:
    """The ONNX model of a folded, possibly quantized network: `image` (N, C, H, W) in [0, 1] -> `logits`.

    Weights of the formats in `unpacked` are stored as int8 codes, for a runtime that cannot read them packed: a larger
    file that computes the same. Raises UnknownOperation where the table has no row; `emit_or_export` falls back to
    torch's exporter then.
    """
    writer = Writer(dict(network.named_modules()), stored_as_int8=frozenset(unpacked))
    for node in network.graph.nodes:
        write_node(writer, node)
    graph = helper.make_graph(writer.nodes, PRODUCER, [_image(header)], [_logits(header)], writer.weights)
    return _finish(graph, header, writer.functions)


def emit_or_export(
    module: nn.Module, header: FileHeader, *, unpacked: Collection[str] = frozenset()
) -> onnx.ModelProto:
    """The model of a float network by the table, or by `torch.onnx.export` where something is unknown to it."""
    try:
        network = module if isinstance(module, fx.GraphModule) else fold_batch_norm(module)
        return emit(network, header, unpacked=unpacked)
    except (UnknownOperation, Unsupported):
        return export_with_torch(module, header)


def export_with_torch(module: nn.Module, header: FileHeader) -> onnx.ModelProto:
    """The model of a float network by `torch.onnx.export`, cleared of the exporter's stack traces."""
    image = torch.rand(2, header.channels, header.input_size, header.input_size)
    program = torch.onnx.export(
        module.eval(),
        (image,),
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("N")},),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    graph = program.model_proto.graph
    for item in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    del graph.value_info[:]
    return _finish(graph, header)


def _finish(
    graph: onnx.GraphProto, header: FileHeader, makers: Mapping[str, FunctionMaker] = MappingProxyType({})
) -> onnx.ModelProto:
    """The model, at the oldest version that knows the types it stores, with the functions it calls."""
    opset, ir_version = max(_VERSION_OF.get(weight.data_type, (OPSET, IR_VERSION)) for weight in graph.initializer)
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
    onnx.checker.check_model(model)
    return model


def _image(header: FileHeader) -> onnx.ValueInfoProto:
    shape: list[str | int | None] = ["N", header.channels, header.input_size, header.input_size]
    return helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)


def _logits(header: FileHeader) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(header.class_names)])
