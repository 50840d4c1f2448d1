"""Costs read off an ONNX file: parameters, multiply-accumulates and peak activation memory at batch 1."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx
from onnx import TensorProto, numpy_helper, shape_inference

from nas.runtimes.onnx.packing import FUNCTIONS
from nas.runtimes.runtime import FileCosts

# Where a layer's weights and biases are among its inputs: where constants are parameters.
LAYER_OPS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "ConvInteger": (1,), "QLinearConv": (3, 8),
    "Gemm": (1, 2), "MatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3),
}  # fmt: skip
FUSED_OPS = ("Relu", "LeakyRelu", "Clip", "BatchNormalization")
# What ONNX Runtime runs on codes where it lies between DequantizeLinear and QuantizeLinear.
INTEGER_OPS = frozenset(
    {"Conv", "Gemm", "MatMul", "Add", "Mul", "GlobalAveragePool", "AveragePool", "Concat"}
    | {"MaxPool", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Gather", "Slice", "Split"}
)
FLOAT_RESULT = ("Gemm", "MatMul")  # whose integer kernels may write floats
_BYTES = {TensorProto.UINT8: 1, TensorProto.INT8: 1, TensorProto.FLOAT16: 2, TensorProto.FLOAT: 4}


def read_costs(model: onnx.ModelProto) -> FileCosts:
    """Count convolution and linear weights and biases once each, their MACs and the largest sum of live activations.

    Activations between integer kernels are held as codes; what runs as floats between them is held as floats.

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
        self.constants: dict[str, tuple[int, ...]] = {w.name: tuple(w.dims) for w in model.graph.initializer}
        self.inputs = [value.name for value in model.graph.input if value.name not in self.constants]
        self.outputs = [value.name for value in model.graph.output]
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

    def shape(self, name: str) -> tuple[int, ...]:
        """A value's shape, a constant's too; KeyError where it is not known."""
        stored = self.stored(name)
        return self.constants[stored] if stored in self.constants else self.shapes[name]

    def stored(self, name: str) -> str:
        """The value that is really held where `name` is read: codes behind DequantizeLinear and Cast."""
        while name in self.maker and self.maker[name].op_type in ("DequantizeLinear", "Cast", "Identity"):
            name = self.maker[name].input[0]
        return name

    def is_constant(self, name: str) -> bool:
        return self.stored(name) in self.constants

    def fuses(self, node: onnx.NodeProto) -> bool:
        """Whether a node writes where its input is made: a ReLU, or the quantizer of an integer kernel's result."""
        made = self._made_for(node)
        if made is None:
            return False
        return node.op_type in FUSED_OPS or (node.op_type == "QuantizeLinear" and self._on_codes(self._origin(made)))

    def only_codes(self, dequantizer: onnx.NodeProto) -> bool:
        """Whether a dequantizer's floats are never held: everyone who reads them computes on the codes."""
        readers = self.readers.get(dequantizer.output[0], [])
        return bool(readers) and all(map(self.is_integer, readers))

    def reads(self, node: onnx.NodeProto) -> list[str]:
        """The values a node reads: codes rather than what they stand for, where it computes on them."""
        makers = [self.maker.get(name) for name in node.input]
        on_codes = self.is_integer(node)
        return [
            made.input[0] if on_codes and made is not None and made.op_type == "DequantizeLinear" else name
            for name, made in zip(node.input, makers, strict=True)
        ]

    def is_integer(self, node: onnx.NodeProto) -> bool:
        """Whether the runtime has an integer kernel for a node, from codes to codes (or to a last layer's floats)."""
        if not self._on_codes(node):
            return False
        end = node
        while (reader := self._only_reader(end)) is not None and reader.op_type in FUSED_OPS:
            end = reader
        return node.op_type in FLOAT_RESULT or (reader is not None and reader.op_type == "QuantizeLinear")

    def _on_codes(self, node: onnx.NodeProto) -> bool:
        """Whether all that a node computes with stands behind DequantizeLinear, a layer's weights too."""
        activations = [name for name in node.input if name and not self.is_constant(name)]
        data = node.input[:2] if node.op_type in LAYER_OPS else activations
        behind = (name in self.maker and self.maker[name].op_type == "DequantizeLinear" for name in data)
        return node.op_type in INTEGER_OPS and all(behind)

    def _origin(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """Who made what a chain of ReLUs ends with."""
        while node.op_type in FUSED_OPS and (made := self._made_for(node)) is not None:
            node = made
        return node

    def _made_for(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """Who makes a node's first input, where nobody else reads it."""
        source = node.input[0]
        return self.maker.get(source) if len(self.readers[source]) == 1 else None

    def _only_reader(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        readers = self.readers.get(node.output[0], [])
        return readers[0] if len(readers) == 1 else None


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
    out = graph.shapes[node.output[0]]
    if "MatMul" in node.op_type:
        return math.prod(out) * graph.shape(node.input[0])[-1]
    weight = graph.shape(node.input[LAYER_OPS[node.op_type][0]])
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
        for name in graph.reads(node):
            if name in home:
                last_read[home[name]] = step
        _place(graph, node, home, sizes)
    for name in graph.outputs:
        last_read[home[name]] = len(graph.nodes)
    return _largest_sum(graph, home, sizes, last_read)


def _place(graph: _Graph, node: onnx.NodeProto, home: dict[str, str], sizes: dict[str, int]) -> None:
    """Decide which buffers a node's outputs live in: their own, or its input's."""
    out = node.output[0]
    if node.op_type == "DequantizeLinear" and graph.only_codes(node):
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
