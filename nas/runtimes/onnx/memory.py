"""Peak activation memory of an ONNX file: the largest sum of live activations in file order, at their stored types."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx
from onnx import TensorProto

from nas.runtimes.onnx.graph import Graph, Uncounted, of_one_image, subgraphs

_BYTES = {
    TensorProto.UINT8: 1, TensorProto.INT8: 1, TensorProto.BOOL: 1, TensorProto.UINT16: 2, TensorProto.INT16: 2,
    TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2, TensorProto.FLOAT: 4, TensorProto.INT64: 8,
    TensorProto.UINT64: 8, TensorProto.DOUBLE: 8,
}  # fmt: skip


def peak_memory(graph: Graph) -> int:
    """Largest sum of live activations over the nodes in file order, each at its stored type."""
    home: dict[str, str] = {name: name for name in graph.inputs}
    sizes = {name: _bytes(graph, name) for name in graph.inputs}
    last_read: dict[str, int] = {}
    for step, node in enumerate(graph.nodes):
        if graph.is_folded(node):
            continue
        if any(True for _ in subgraphs(node)):
            raise Uncounted(f"{node.op_type} holds a graph of its own, whose activations are not counted")
        for name in graph.reads(node):
            if name in home:
                last_read[home[name]] = step
        _place(graph, node, home, sizes)
    for name in graph.outputs:
        last_read[home.get(name, name)] = len(graph.nodes)
    return of_one_image(graph, _largest_sum(graph, home, sizes, last_read), "activations")


def _place(graph: Graph, node: onnx.NodeProto, home: dict[str, str], sizes: dict[str, int]) -> None:
    """Decide which buffers a node's outputs live in: their own, or its input's."""
    out = node.output[0]
    if node.op_type == "DequantizeLinear" and graph.only_codes(node) and node.input[0] in home:
        home[out] = home[node.input[0]]
    elif graph.fuses(node) and node.input[0] in home:
        home[out] = home[node.input[0]]
        sizes[home[out]] = _bytes(graph, out)
    else:
        for name in filter(None, node.output):
            home[name] = name
            sizes[name] = _bytes(graph, name)


def _largest_sum(graph: Graph, home: Mapping[str, str], sizes: Mapping[str, int], last_read: Mapping[str, int]) -> int:
    live: set[str] = set(graph.inputs)
    peak = 0
    for step, node in enumerate(graph.nodes):
        live.update(home[name] for name in node.output if name in home)
        peak = max(peak, sum(sizes[name] for name in live))
        live = {name for name in live if last_read.get(name, -1) > step}
    return peak


def _bytes(graph: Graph, name: str) -> int:
    return math.prod(graph.shape(name)) * _BYTES.get(graph.types.get(name, TensorProto.FLOAT), 4)
