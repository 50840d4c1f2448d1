"""Whether a file from elsewhere may be opened here: one self-contained ONNX graph, and nothing that reaches outside."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, external_data_helper

from nas.runtimes.onnx.graph import STANDARD
from nas.runtimes.runtime import RuntimeRefused

# Of ONNX Runtime itself; a file may name no other, besides its own functions'.
BUILT_IN = frozenset({*STANDARD, "ai.onnx.ml", "com.microsoft"})
# A compiled graph of some provider's, in a file that the node names; and what runs other programs.
REACHES_OUTSIDE = frozenset({"EPContext", "PythonOp", "PythonOpGrad", "ATen"})
MOST_NODES, MOST_DEPTH, MOST_INPUT = 100_000, 16, 2**26


def refuse_unsafe(content: bytes) -> None:
    """Raises RuntimeRefused with what is wrong with a file."""
    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError:
        raise RuntimeRefused("expected an ONNX file, got something else") from None
    if not model.graph.node:
        raise RuntimeRefused("expected an ONNX file with a graph, got none")
    _refuse_input(model.graph)
    functions = {(function.domain, function.name) for function in model.functions}
    nodes = [*_nodes(model.graph.node, 0), *(n for function in model.functions for n in _nodes(function.node, 0))]
    if len(nodes) > MOST_NODES:
        raise RuntimeRefused(f"expected at most {MOST_NODES} nodes, got {len(nodes)}")
    for node in nodes:
        if node.op_type in REACHES_OUTSIDE or not (node.domain in BUILT_IN or (node.domain, node.op_type) in functions):
            raise RuntimeRefused(f"expected operations of ONNX, got {node.domain}:{node.op_type}")
    graphs = [model.graph, *(graph for node in nodes for graph in _graphs(node))]
    for tensor in (*_stored(graphs), *_of_attributes(nodes)):
        if external_data_helper.uses_external_data(tensor) or tensor.external_data:
            raise RuntimeRefused(f"expected all weights in the file, got {tensor.name[:80]!r} outside of it")


def _refuse_input(graph: onnx.GraphProto) -> None:
    """One input of float32 images, whose size is fixed and within bounds."""
    stored = {weight.name for weight in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        raise RuntimeRefused(f"expected one input, got {len(inputs)}")
    tensor = inputs[0].type.tensor_type
    sizes = [dimension.dim_value for dimension in tensor.shape.dim]
    if tensor.elem_type != TensorProto.FLOAT or len(sizes) != 4 or not all(size > 0 for size in sizes[1:]):
        raise RuntimeRefused("expected an input of float32 images (N, C, H, W) with three fixed dimensions behind N")
    if math.prod(sizes[1:]) > MOST_INPUT:
        raise RuntimeRefused(f"expected at most {MOST_INPUT} values in an image, got {math.prod(sizes[1:])}")


def _nodes(nodes: Iterable[onnx.NodeProto], depth: int) -> Iterator[onnx.NodeProto]:
    """All nodes, those of graphs within nodes included."""
    if depth > MOST_DEPTH:
        raise RuntimeRefused(f"expected graphs within graphs at most {MOST_DEPTH} deep")
    for node in nodes:
        yield node
        for graph in _graphs(node):
            yield from _nodes(graph.node, depth + 1)


def _graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _stored(graphs: Iterable[onnx.GraphProto]) -> Iterator[TensorProto]:
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)


def _of_attributes(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            yield from [attribute.t] if attribute.HasField("t") else []
            yield from attribute.tensors
            for one in (*sparse, *attribute.sparse_tensors):
                yield from (one.values, one.indices)
