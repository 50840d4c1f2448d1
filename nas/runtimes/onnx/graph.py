"""The graph of an ONNX file, for counting: shapes, constants, who makes and reads a value, what runs on codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx
from onnx import numpy_helper, shape_inference

from nas.runtimes.onnx.light import without_large_values
from nas.runtimes.onnx.packing import FUNCTIONS

# Where a layer's weights and biases are among its inputs: where constants are parameters.
LAYER_OPS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "ConvInteger": (1,), "QLinearConv": (3, 8),
    "Gemm": (1, 2), "MatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3),
}  # fmt: skip
STANDARD = ("", "ai.onnx")  # domains
FUSED_OPS = ("Relu", "LeakyRelu", "Clip", "BatchNormalization")
# What ONNX Runtime runs on codes where it lies between DequantizeLinear and QuantizeLinear.
INTEGER_OPS = frozenset(
    {"Conv", "Gemm", "MatMul", "Add", "Mul", "GlobalAveragePool", "AveragePool", "Concat"}
    | {"MaxPool", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Gather", "Slice", "Split"}
    | {"LeakyRelu", "Sigmoid"}
)
FLOAT_RESULT = ("Gemm", "MatMul")  # whose integer kernels may write floats
SAME_VALUES = frozenset(
    {"Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze", "Transpose"}
    | {"Unsqueeze"}
)
SAME_SHAPE = ("Cast", "DequantizeLinear", "Identity", "QuantizeLinear")
SOME_VALUES = ("Gather", "GatherElements", "GatherND", "Slice", "Split")
RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


class Uncounted(ValueError):
    """A figure that the graph does not determine; the message says why."""


class Graph:
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
        """What a function restores from bits counts as the constant, with the shape it restores: its last input."""
        values = {w.name: w for w in model.graph.initializer}
        for node in self.nodes:
            if node.domain == FUNCTIONS:
                self.constants[node.output[0]] = tuple(numpy_helper.to_array(values[node.input[-1]]).tolist())

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
        if (node := self.maker.get(name)) is not None and node.op_type in SAME_SHAPE:
            return self.shape(node.input[0])
        if node is not None and self._is_lookup(node):
            return self.shape(node.input[1])
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
        is_part = node.op_type in SOME_VALUES and not self._is_lookup(node)
        return own, self.source(node.input[0])[1] if is_part else own

    def _is_lookup(self, node: onnx.NodeProto) -> bool:
        """Whether a node takes entries of a stored list, any of them often, as from a codebook."""
        return node.op_type == "Gather" and len(self.constants.get(node.input[0], ())) == 1

    def is_constant(self, name: str) -> bool:
        return name in self.folded

    def fuses(self, node: onnx.NodeProto) -> bool:
        """Whether a node writes where its input is made: a ReLU, or the quantizer of an integer kernel's result."""
        made = self._made_for(node)
        if made is None:
            return False
        if node.op_type == "QuantizeLinear":
            return self._on_codes(self._origin(made))
        return node.op_type in FUSED_OPS and not self._on_codes(node)

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
        while node.op_type in FUSED_OPS and not self._on_codes(node) and (made := self._made_for(node)) is not None:
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
    """The model with a batch of 1 where it is free; other free lengths follow from it, or stay unknown.

    Large stored values, which tell no shapes, stand in it as inputs: copies of them would take seconds.
    """
    copy = without_large_values(model)
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


def of_one_image(graph: Graph, total: int, what: str) -> int:
    """The share of one image in a total over the batch. Raises Uncounted where the images do not share it equally."""
    if total % graph.batch:
        raise Uncounted(f"{what} are not shared equally by the {graph.batch} images of the batch that the file fixes")
    return total // graph.batch
