"""The ONNX file of a network, node by node; or by torch's exporter, where the table has no row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import onnx
import torch
from torch import fx, nn

from compressors.folding import fold_batch_norm
from compressors.masking.layers import has_masks
from compressors.support import Unsupported
from nas.runtimes.onnx.light import without_large_values
from nas.runtimes.onnx.maps import pooled_maps
from nas.runtimes.onnx.model import OPSET, FunctionMaker, graph_of, model_of
from nas.runtimes.onnx.nodes import write_node
from nas.runtimes.onnx.storage import SMALLEST, Storage
from nas.runtimes.onnx.writer import UnknownOperation, Writer
from nas.runtimes.runtime import FileHeader


def emit(network: fx.GraphModule, header: FileHeader, storage: Storage = SMALLEST) -> onnx.ModelProto:
    """The ONNX model of a folded, possibly quantized network: `image` (N, C, H, W) in [0, 1] -> `logits`.

    Whatever the storage, the file computes the same. Raises UnknownOperation where the table has no row;
    `emit_or_export` falls back to torch's exporter then.
    """
    dense = _written(network, header, replace(storage, is_dense=True))
    if storage.is_dense or not has_masks(network):
        return dense
    sparse = _written(network, header, storage)
    return min(dense, sparse, key=onnx.ModelProto.ByteSize)  # small masks save less than their function takes


def _written(network: fx.GraphModule, header: FileHeader, storage: Storage) -> onnx.ModelProto:
    writer = Writer(dict(network.named_modules()), storage=storage, maps=pooled_maps(network, header))
    for node in network.graph.nodes:
        write_node(writer, node)
    return _finish(graph_of(writer.nodes, writer.weights, header), header, writer.functions)


def emit_or_export(module: nn.Module, header: FileHeader, storage: Storage = SMALLEST) -> onnx.ModelProto:
    """The model of a float network by the table, or by `torch.onnx.export` where something is unknown to it."""
    try:
        network = module if isinstance(module, fx.GraphModule) else fold_batch_norm(module)
        return emit(network, header, storage)
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
    model = model_of(graph, header, makers)
    onnx.checker.check_model(without_large_values(model))
    return model
