"""Costs read off an ONNX file: parameters, multiply-accumulates and peak activation memory at batch 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import TensorProto, numpy_helper, shape_inference

from nas.runtimes.onnx_packing import FUNCTIONS

# Where a layer's weights and biases are among its inputs.
LAYER_OPS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "ConvInteger": (1,), "QLinearConv": (3, 8),
    "Gemm": (1, 2), "MatMul": (1,), "MatMulInteger": (1,), "QLinearMatMul": (3,),
}  # fmt: skip
FUSED_OPS = ("Relu", "LeakyRelu", "Clip", "BatchNormalization")
_BYTES = {TensorProto.UINT8: 1, TensorProto.INT8: 1, TensorProto.FLOAT16: 2, TensorProto.FLOAT: 4}


@dataclass(frozen=True)
class FileCosts:
    """What a file holds and needs, by its own graph."""

    parameters: int
    macs: int
    peak_memory_bytes: int


def read_costs(model: onnx.ModelProto) -> FileCosts:
    """Count convolution and linear weights and biases once each, their MACs and the largest sum of live activations.

    Raises KeyError with the name of a value whose shape it needs and shape inference does not tell.
    """
    graph = _Graph(model)
    weights: set[str] = set()
    macs = 0
    for node in model.graph.node:
        if node.op_type in LAYER_OPS:
            names = [graph.stored(node.input[i]) for i in LAYER_OPS[node.op_type] if i < len(node.input)]
            weights.update(name for name in names if name in graph.constants)
            macs += _macs(graph, node)
    parameters = sum(math.prod(graph.constants[name]) for name in weights)
    return FileCosts(parameters, macs, _peak_memory(graph))


class _Graph:
    """A model's shapes at batch 1, its constants and who makes and reads each value."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.inputs = [value.name for value in model.graph.input]
        self.outputs = [value.name for value in model.graph.output]
        self.constants: dict[str, tuple[int, ...]] = {w.name: tuple(w.dims) for w in model.graph.initializer}
        inferred = shape_inference.infer_shapes(_at_batch_one(model), strict_mode=True).graph
        values = [*inferred.input, *inferred.value_info, *inferred.output]
        self.shapes = {value.name: shape for value in values if (shape := _shape(value)) is not None}
        self.types = {v.name: v.type.tensor_type.elem_type for v in values}
        self.maker = {name: node for node in self.nodes for name in node.output}
        self._unpack_shapes(model)
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def _unpack_shapes(self, model: onnx.ModelProto) -> None:
        """What a function restores from bit planes counts as the constant, with the shape it restores."""
        values = {w.name: w for w in model.graph.initializer}
        for node in self.nodes:
            if node.domain == FUNCTIONS:
                self.constants[node.output[0]] = tuple(numpy_helper.to_array(values[node.input[1]]).tolist())

    def stored(self, name: str) -> str:
        """The value that is really held where `name` is read: codes behind DequantizeLinear and Cast."""
        while name in self.maker and self.maker[name].op_type in ("DequantizeLinear", "Cast", "Identity"):
            name = self.maker[name].input[0]
        return name

    def is_constant(self, name: str) -> bool:
        return self.stored(name) in self.constants

    def fuses(self, node: onnx.NodeProto) -> bool:
        """Whether a node writes where its input already is: a quantizer or ReLU that is the only reader of a result."""
        source = node.input[0]
        alone = len(self.readers[source]) == 1 and source in self.maker
        return alone and node.op_type in ("QuantizeLinear", *FUSED_OPS)


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """A value's shape, or None where its rank or a length is not known."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value for dim in dims) if all(dim.HasField("dim_value") for dim in dims) else None


def _at_batch_one(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in [*copy.graph.input, *copy.graph.output]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = 1
    return copy


def _macs(graph: _Graph, node: onnx.NodeProto) -> int:
    """Output positions times the weights each of them reads."""
    weight = graph.constants.get(graph.stored(node.input[LAYER_OPS[node.op_type][0]]))
    out = graph.shapes[node.output[0]]
    if weight is None:
        inner = graph.shapes[node.input[0]][-1]
        return math.prod(out) * inner
    if node.op_type == "ConvTranspose":
        return math.prod(graph.shapes[node.input[0]]) * math.prod(weight[1:])
    if "Conv" in node.op_type:
        return math.prod(out) * math.prod(weight[1:])
    return math.prod(out[:-1]) * math.prod(weight)


def _peak_memory(graph: _Graph) -> int:
    """Largest sum of live activations over the nodes in file order, each at its stored type."""
    home: dict[str, str] = {name: name for name in graph.inputs}
    sizes = {name: _bytes(graph, name) for name in graph.inputs}
    last_read: dict[str, int] = {}
    for step, node in enumerate(graph.nodes):
        if all(graph.is_constant(name) for name in node.input if name):
            continue
        for name in node.input:
            if name in home:
                last_read[home[name]] = step
        _place(graph, node, home, sizes)
    for name in graph.outputs:
        last_read[home[name]] = len(graph.nodes)
    return _largest_sum(graph, home, sizes, last_read)


def _place(graph: _Graph, node: onnx.NodeProto, home: dict[str, str], sizes: dict[str, int]) -> None:
    """Decide which buffers a node's outputs live in: their own, or its input's."""
    out = node.output[0]
    if node.op_type == "DequantizeLinear":
        home[out] = home[node.input[0]]
    elif graph.fuses(node) and node.input[0] in home:
        home[out] = home[node.input[0]]
        sizes[home[out]] = _bytes(graph, out)
    else:
        for name in filter(None, node.output):
            home[name] = name
            sizes[name] = _bytes(graph, name)


def _largest_sum(graph: _Graph, home: Mapping[str, str], sizes: Mapping[str, int], last_read: Mapping[str, int]) -> int:
    live: set[str] = set(graph.inputs)
    peak = 0
    for step, node in enumerate(graph.nodes):
        live.update(home[name] for name in node.output if name in home)
        peak = max(peak, sum(sizes[name] for name in live))
        live = {name for name in live if last_read.get(name, -1) > step}
    return peak


def _bytes(graph: _Graph, name: str) -> int:
    return math.prod(graph.shapes[name]) * _BYTES.get(graph.types[name], 4)
