"""Costs read off an ONNX file: parameters, multiply-accumulates and peak activation memory of one image.

A figure that the graph does not determine is unknown, never zero, and the reason is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import onnx
from onnx import TensorProto, inliner, numpy_helper, shape_inference

from nas.runtimes.onnx.packing import FUNCTIONS
from nas.runtimes.runtime import FileCosts

# Where a layer's weights and biases are among its inputs: where constants are parameters.
LAYER_OPS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "ConvInteger": (1,), "QLinearConv": (3, 8),
    "Gemm": (1, 2), "MatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3),
}  # fmt: skip
# Layers of other kinds, whose weights and products are not counted.
OTHER_LAYERS = frozenset({"LSTM", "GRU", "RNN", "Attention", "DeformConv", "Einsum"})
STANDARD = ("", "ai.onnx")  # domains
FUSED_OPS = ("Relu", "LeakyRelu", "Clip", "BatchNormalization")
# What ONNX Runtime runs on codes where it lies between DequantizeLinear and QuantizeLinear.
INTEGER_OPS = frozenset(
    {"Conv", "Gemm", "MatMul", "Add", "Mul", "GlobalAveragePool", "AveragePool", "Concat"}
    | {"MaxPool", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Gather", "Slice", "Split"}
)
FLOAT_RESULT = ("Gemm", "MatMul")  # whose integer kernels may write floats
SAME_VALUES = frozenset(
    {"Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze", "Transpose"}
    | {"Unsqueeze"}
)
SAME_SHAPE = ("Cast", "DequantizeLinear", "Identity", "QuantizeLinear")
SOME_VALUES = ("Gather", "GatherElements", "GatherND", "Slice", "Split")
RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
_BYTES = {
    TensorProto.UINT8: 1, TensorProto.INT8: 1, TensorProto.BOOL: 1, TensorProto.UINT16: 2, TensorProto.INT16: 2,
    TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2, TensorProto.FLOAT: 4, TensorProto.INT64: 8,
    TensorProto.UINT64: 8, TensorProto.DOUBLE: 8,
}  # fmt: skip


class Uncounted(ValueError):
    """A figure that the graph does not determine; the message says why."""


@dataclass(frozen=True)
class Counts:
    """FileCosts of any file: None where a figure is unknown; `unknown` holds the reasons, each once."""

    parameters: int | None
    macs: int | None
    peak_memory_bytes: int | None
    unknown: tuple[str, ...] = ()


def read_costs(model: onnx.ModelProto) -> FileCosts:
    """Costs of a file that determines all of them, as those emitted here do. Raises Uncounted for any other."""
    found = count(model)
    if found.parameters is None or found.macs is None or found.peak_memory_bytes is None:
        raise Uncounted("; ".join(found.unknown))
    return FileCosts(found.parameters, found.macs, found.peak_memory_bytes)


def count(model: onnx.ModelProto) -> Counts:
    """Weights and biases of convolutions and linear layers once each, their MACs, the largest sum of live activations.

    Where constant operations lie between a stored value and a layer, what the layer reads is counted. Activations
    between integer kernels are held as codes, others as floats. A batch that the file fixes is divided out.
    """
    try:
        graph = _Graph(_without_functions(model))
    except (onnx.shape_inference.InferenceError, RuntimeError) as error:
        return Counts(None, None, None, (f"shapes cannot be inferred ({_first_line(error)})",))
    unknown: dict[str, None] = {}

    def told(figure: Callable[[_Graph], int]) -> int | None:
        try:
            return figure(graph)
        except Uncounted as reason:
            unknown[str(reason)] = None
            return None

    parameters, macs, peak_memory_bytes = told(_parameters), told(_total_macs), told(_peak_memory)
    return Counts(parameters, macs, peak_memory_bytes, tuple(unknown))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its local functions inlined, except those that restore packed weights."""
    foreign = [(function.domain, function.name) for function in model.functions if function.domain != FUNCTIONS]
    return inliner.inline_selected_functions(model, foreign) if foreign else model


class _Graph:
    """A model's shapes, its constants and who makes and reads each value. The batch is `batch`: 1 unless fixed."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.constants = dict(_stored_shapes(model.graph))
        self.inputs = [value.name for value in model.graph.input if value.name not in self.constants]
        self.outputs = [value.name for value in model.graph.output]
        inferred = _inferred(_at_batch_one(model, self.inputs)).graph
        values = [*inferred.input, *inferred.value_info, *inferred.output]
        self.shapes = {value.name: shape for value in values if (shape := _shape(value)) is not None}
        self.types = {v.name: v.type.tensor_type.elem_type for v in values}
        self.batch = next((self.shapes[name][0] for name in self.inputs if self.shapes.get(name)), 1) or 1
        self.maker = {name: node for node in self.nodes for name in node.output if name}
        self._unpack_shapes(model)
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.folded = set(self.constants)  # values that are known before any image is
        for node in self.nodes:  # a graph is sorted: makers come before readers
            if self._is_constant_node(node):
                self.folded.update(filter(None, node.output))

    def _unpack_shapes(self, model: onnx.ModelProto) -> None:
        """What a function restores from bit planes counts as the constant, with the shape it restores."""
        values = {w.name: w for w in model.graph.initializer}
        for node in self.nodes:
            if node.domain == FUNCTIONS:
                self.constants[node.output[0]] = tuple(numpy_helper.to_array(values[node.input[1]]).tolist())

    def _is_constant_node(self, node: onnx.NodeProto) -> bool:
        """Whether a node computes the same for every image, so that the runtime computes it when it loads the file."""
        if node.op_type in ("Shape", "Size") and node.input[0] in self.shapes:
            return True
        is_pure = node.op_type not in RANDOM and not any(True for _ in subgraphs(node))
        return is_pure and self.is_known_domain(node) and all(name in self.folded for name in node.input if name)

    @staticmethod
    def is_known_domain(node: onnx.NodeProto) -> bool:
        return node.domain in (*STANDARD, FUNCTIONS)

    def is_folded(self, node: onnx.NodeProto) -> bool:
        return all(name in self.folded for name in node.output if name)

    def shape(self, name: str) -> tuple[int, ...]:
        """A value's shape, a constant's too. Raises Uncounted where it is not known."""
        if name in self.constants:
            return self.constants[name]
        if name in self.shapes:
            return self.shapes[name]
        if name in self.maker and self.maker[name].op_type in SAME_SHAPE:
            return self.shape(self.maker[name].input[0])
        raise Uncounted(f"shapes are not known throughout ({name!r})")

    def source(self, name: str) -> tuple[str, str]:
        """The identity of a constant, and that of the constant it is a part of.

        Casts, transposes and reshapes keep it; other operations that are equal, on equal constants, give one identity.
        """
        node = self.maker.get(name)
        if name in self.constants or node is None:
            return name, name
        if node.op_type in SAME_VALUES:
            return self.source(node.input[0])
        inputs = [self.source(value)[0] if value else "" for value in node.input]
        attributes = [attribute.SerializeToString(deterministic=True).hex() for attribute in node.attribute]
        made = repr((node.op_type, list(node.output).index(name), inputs, attributes))
        own = made if inputs else name
        return own, self.source(node.input[0])[1] if node.op_type in SOME_VALUES else own

    def is_constant(self, name: str) -> bool:
        return name in self.folded

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
        source = node.input[0] if node.input else ""
        return self.maker.get(source) if len(self.readers.get(source, ())) == 1 else None

    def _only_reader(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        readers = self.readers.get(node.output[0], [])
        return readers[0] if len(readers) == 1 else None


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """With all shapes that can be inferred; none where shapes contradict each other or behind an unknown operation."""
    try:
        return shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return shape_inference.infer_shapes(model, data_prop=True)


def _stored_shapes(graph: onnx.GraphProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from ((weight.name, tuple(weight.dims)) for weight in graph.initializer)
    yield from ((weight.values.name, tuple(weight.dims)) for weight in graph.sparse_initializer)


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """A value's shape, or None where its rank or a length is not known."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value for dim in dims) if all(dim.HasField("dim_value") for dim in dims) else None


def _at_batch_one(model: onnx.ModelProto, inputs: Iterable[str]) -> onnx.ModelProto:
    """The model with a batch of 1 where it is free; other free lengths follow from it, or stay unknown."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    symbols: set[str] = set()
    for value in copy.graph.input:
        for dim in value.type.tensor_type.shape.dim[:1] if value.name in inputs else ():
            if not dim.dim_value:
                symbols.add(dim.dim_param)
                dim.dim_value = 1
    for value in [*copy.graph.output, *copy.graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param and dim.dim_param in symbols:
                dim.dim_value = 1
            elif not dim.dim_value:
                dim.Clear()
    return copy


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs a node holds: branches of If, bodies of Loop and Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _refuse_other_layers(node: onnx.NodeProto) -> None:
    """Raises Uncounted at a node that may hold weights or products that are not counted."""
    if not _Graph.is_known_domain(node):
        raise Uncounted(f"{_called(node)} is an operation of {node.domain}, which is not counted")
    if node.op_type in OTHER_LAYERS:
        raise Uncounted(f"{_called(node)} is a layer of a kind that is not counted")
    if any(_holds_layers(graph) for graph in subgraphs(node)):
        raise Uncounted(f"{_called(node)} holds layers in a graph of its own, which may run or not")


def _called(node: onnx.NodeProto) -> str:
    name = node.name or next(filter(None, node.output), "")
    return f"{node.op_type} {name!r}"


def _holds_layers(graph: onnx.GraphProto) -> bool:
    counted = (node.op_type in LAYER_OPS or node.op_type in OTHER_LAYERS for node in graph.node)
    foreign = (not _Graph.is_known_domain(node) for node in graph.node)
    return any(counted) or any(foreign) or any(_holds_layers(g) for node in graph.node for g in subgraphs(node))


def _parameters(graph: _Graph) -> int:
    """Scalars of all weights and biases, shared ones once; parts of one stored value are no more than it."""
    sizes: dict[str, dict[str, int]] = {}
    wholes: dict[str, int] = {}
    for node in graph.nodes:
        if graph.is_folded(node):
            continue
        if any(map(graph.is_constant, node.input)) or node.attribute:
            _refuse_other_layers(node)
        for name in _weights(graph, node):
            own, whole = graph.source(name)
            sizes.setdefault(whole, {})[own] = math.prod(graph.shape(name))
            wholes[whole] = math.prod(graph.constants.get(whole, graph.shape(name)))
    return sum(min(wholes[whole], sum(parts.values())) for whole, parts in sizes.items())


def _weights(graph: _Graph, node: onnx.NodeProto) -> Iterator[str]:
    """The constants that are parameters of a node. Raises Uncounted where its weight is no constant."""
    if node.op_type not in LAYER_OPS:
        return
    names = [node.input[i] for i in LAYER_OPS[node.op_type] if i < len(node.input) and node.input[i]]
    constants = [name for name in names if graph.is_constant(name)]
    if not constants or (names[0] not in constants and "MatMul" not in node.op_type):
        _refuse_computed_weight(graph, node, names)
    yield from constants
    if (bias := _added_bias(graph, node)) is not None:
        yield bias


def _refuse_computed_weight(graph: _Graph, node: onnx.NodeProto, names: list[str]) -> None:
    """Raises Uncounted unless a node multiplies matrices of activations, which have a batch axis in front."""
    is_of_images = "MatMul" in node.op_type and all(len(graph.shape(name)) > 2 for name in names)
    if not is_of_images:
        raise Uncounted(f"the weight of {_called(node)} is no constant")


def _added_bias(graph: _Graph, node: onnx.NodeProto) -> str | None:
    """A constant that is added to a layer's result alone, one number per output channel."""
    readers = graph.readers.get(node.output[0], [])
    if len(readers) != 1 or readers[0].op_type != "Add" or node.output[0] in graph.outputs:
        return None
    other = next((name for name in readers[0].input if name != node.output[0]), None)
    if other is None or not graph.is_constant(other):
        return None
    shape, out = graph.shape(other), graph.shape(node.output[0])
    axis = 1 if "Conv" in node.op_type else len(out) - 1
    per_channel = tuple(length if i == axis else 1 for i, length in enumerate(out))
    return other if (1,) * (len(out) - len(shape)) + shape == per_channel else None


def _total_macs(graph: _Graph) -> int:
    total = 0
    for node in graph.nodes:
        if not graph.is_folded(node):
            _refuse_other_layers(node)
            total += _macs(graph, node) if node.op_type in LAYER_OPS else 0
    return _of_one_image(graph, total, "MACs")


def _of_one_image(graph: _Graph, total: int, what: str) -> int:
    if total % graph.batch:
        raise Uncounted(f"{what} are not shared equally by the {graph.batch} images of the batch that the file fixes")
    return total // graph.batch


def _macs(graph: _Graph, node: onnx.NodeProto) -> int:
    """Output positions times the weights each of them reads."""
    out = graph.shape(node.output[0])
    if "MatMul" in node.op_type:
        return math.prod(out) * graph.shape(node.input[0])[-1]
    weight = graph.shape(node.input[LAYER_OPS[node.op_type][0]])
    if node.op_type == "ConvTranspose":
        return math.prod(graph.shape(node.input[0])) * math.prod(weight[1:])
    if "Conv" in node.op_type:
        return math.prod(out) * math.prod(weight[1:])
    return math.prod(out[:-1]) * math.prod(weight)


def _peak_memory(graph: _Graph) -> int:
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
    return _of_one_image(graph, _largest_sum(graph, home, sizes, last_read), "activations")


def _place(graph: _Graph, node: onnx.NodeProto, home: dict[str, str], sizes: dict[str, int]) -> None:
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


def _largest_sum(graph: _Graph, home: Mapping[str, str], sizes: Mapping[str, int], last_read: Mapping[str, int]) -> int:
    live: set[str] = set(graph.inputs)
    peak = 0
    for step, node in enumerate(graph.nodes):
        live.update(home[name] for name in node.output if name in home)
        peak = max(peak, sum(sizes[name] for name in live))
        live = {name for name in live if last_read.get(name, -1) > step}
    return peak


def _bytes(graph: _Graph, name: str) -> int:
    return math.prod(graph.shape(name)) * _BYTES.get(graph.types.get(name, TensorProto.FLOAT), 4)
