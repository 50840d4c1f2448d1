"""Costs read off an ONNX file: parameters, multiply-accumulates and peak activation memory of one image.

A figure that the graph does not determine is unknown, never zero, and the reason is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx
from onnx import inliner

from nas.runtimes.onnx.graph import LAYER_OPS, Graph, Uncounted, of_one_image, subgraphs
from nas.runtimes.onnx.memory import peak_memory
from nas.runtimes.onnx.packing import FUNCTIONS
from nas.runtimes.runtime import FileCosts

INTEGER_SUMS = ("ConvInteger", "MatMulInteger")
# Layers of other kinds, whose weights and products are not counted.
OTHER_LAYERS = frozenset({"LSTM", "GRU", "RNN", "Attention", "DeformConv", "Einsum"})


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
        graph = Graph(_without_functions(model))
    except (onnx.shape_inference.InferenceError, RuntimeError) as error:
        return Counts(None, None, None, (f"shapes cannot be inferred ({_first_line(error)})",))
    unknown: dict[str, None] = {}

    def told(figure: Callable[[Graph], int]) -> int | None:
        try:
            return figure(graph)
        except Uncounted as reason:
            unknown[str(reason)] = None
            return None

    parameters, macs, peak_memory_bytes = told(_parameters), told(_total_macs), told(peak_memory)
    return Counts(parameters, macs, peak_memory_bytes, tuple(unknown))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its local functions inlined, except those that restore packed weights."""
    foreign = [(function.domain, function.name) for function in model.functions if function.domain != FUNCTIONS]
    return inliner.inline_selected_functions(model, foreign) if foreign else model


def _refuse_other_layers(node: onnx.NodeProto) -> None:
    """Raises Uncounted at a node that may hold weights or products that are not counted."""
    if not Graph.is_known_domain(node):
        raise Uncounted(f"{_called(node)} is an operation of {node.domain}, which is not counted")
    if node.op_type in OTHER_LAYERS:
        raise Uncounted(f"{_called(node)} is a layer of a kind that is not counted")
    if any(_holds_layers(graph) for graph in subgraphs(node)):
        raise Uncounted(f"{_called(node)} holds layers in a graph of its own, which may run or not")


def _called(node: onnx.NodeProto) -> str:
    """A node in messages."""
    name = node.name or next(filter(None, node.output), "")
    return f"{node.op_type} {name!r}"


def _holds_layers(graph: onnx.GraphProto) -> bool:
    counted = (node.op_type in LAYER_OPS or node.op_type in OTHER_LAYERS for node in graph.node)
    foreign = (not Graph.is_known_domain(node) for node in graph.node)
    return any(counted) or any(foreign) or any(_holds_layers(g) for node in graph.node for g in subgraphs(node))


def _parameters(graph: Graph) -> int:
    """Scalars of all weights and biases, shared ones once; parts of one stored value are no more than it."""
    sizes: dict[str, dict[str, int]] = {}
    wholes: dict[str, int] = {}
    for node in graph.nodes:
        if graph.is_folded(node):
            continue
        if any(map(graph.is_constant, node.input)) or node.attribute:
            _refuse_other_layers(node)
        for name in weights_of(graph, node):
            own, whole = graph.source(name)
            sizes.setdefault(whole, {})[own] = math.prod(graph.shape(name))
            wholes[whole] = math.prod(graph.constants.get(whole, graph.shape(name)))
    return sum(min(wholes[whole], sum(parts.values())) for whole, parts in sizes.items())


def weights_of(graph: Graph, node: onnx.NodeProto) -> Iterator[str]:
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


def _refuse_computed_weight(graph: Graph, node: onnx.NodeProto, names: list[str]) -> None:
    """Raises Uncounted unless a node multiplies matrices of activations, which have a batch axis in front."""
    is_of_images = "MatMul" in node.op_type and all(len(graph.shape(name)) > 2 for name in names)
    if not is_of_images:
        raise Uncounted(f"the weight of {_called(node)} is no constant")


def _added_bias(graph: Graph, node: onnx.NodeProto) -> str | None:
    """A constant that is added to a layer's result alone, one number per output channel."""
    is_conv, node = "Conv" in node.op_type, _to_floats(graph, node)
    readers = graph.readers.get(node.output[0], [])
    if len(readers) != 1 or readers[0].op_type != "Add" or node.output[0] in graph.outputs:
        return None
    other = next((name for name in readers[0].input if name != node.output[0]), None)
    if other is None or not graph.is_constant(other):
        return None
    shape, out = graph.shape(other), graph.shape(node.output[0])
    axis = 1 if is_conv else len(out) - 1
    per_channel = tuple(length if i == axis else 1 for i, length in enumerate(out))
    return other if (1,) * (len(out) - len(shape)) + shape == per_channel else None


def _to_floats(graph: Graph, node: onnx.NodeProto) -> onnx.NodeProto:
    """A layer, or of one that sums integers the last of a Cast and the products with scales behind it."""
    if node.op_type in INTEGER_SUMS:
        while len(readers := graph.readers.get(node.output[0], [])) == 1 and readers[0].op_type in ("Cast", "Mul"):
            node = readers[0]
    return node


def _total_macs(graph: Graph) -> int:
    total = 0
    for node in graph.nodes:
        if not graph.is_folded(node):
            _refuse_other_layers(node)
            total += _macs(graph, node) if node.op_type in LAYER_OPS else 0
    return of_one_image(graph, total, "MACs")


def _macs(graph: Graph, node: onnx.NodeProto) -> int:
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
