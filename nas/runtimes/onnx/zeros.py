"""Parameters of an ONNX file that are zero, counted on the values that its layers read: packed and masked ones too."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from nas.runtimes.onnx.costs import weights_of
from nas.runtimes.onnx.graph import Graph
from nas.runtimes.runtime import FileZeros

Values = np.ndarray[Any, Any]


def count_zeros(model: onnx.ModelProto) -> FileZeros:
    """Count what a file's layers read; what is shared counts once. Raises Uncounted as `read_costs` does."""
    graph = Graph(model)
    read = {node.output[0]: list(weights_of(graph, node)) for node in graph.nodes if not graph.is_folded(node)}
    own = {graph.source(name)[0]: name for names in read.values() for name in names}
    values = evaluated(model, sorted(own.values()))
    total = sum(int(np.count_nonzero(array)) for array in values.values())
    shares = {}
    for node in graph.nodes:
        if node.name and (names := read.get(node.output[0])):
            weight = values.get(names[0])
            weight = values[own[graph.source(names[0])[0]]] if weight is None else weight
            shares[node.name] = 1 - int(np.count_nonzero(weight)) / weight.size
    return FileZeros(total, shares)


def evaluated(model: onnx.ModelProto, names: Collection[str]) -> dict[str, Values]:
    """The values that nodes of a file compute from stored ones alone, by name; a file's own functions may help."""
    makers = {name: node for node in model.graph.node for name in node.output}
    nodes = {id(node): node for name in names for node in _behind(name, makers)}
    used = {name for node in nodes.values() for name in node.input} | set(names)
    stored = [weight for weight in model.graph.initializer if weight.name in used]
    outputs = [onnx.ValueInfoProto(name=name) for name in names]
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    part.graph.name = "weights"
    part.graph.node.extend(node for node in model.graph.node if id(node) in nodes)
    part.graph.initializer.extend(stored)
    part.graph.output.extend(outputs)
    values: Any = ReferenceEvaluator(part).run(None, {}) if names else ()
    return dict(zip(names, values, strict=True))


def _behind(name: str, makers: Mapping[str, onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The node that makes a value, and those that make what it reads."""
    if (node := makers.get(name)) is not None:
        yield node
        for source in node.input:
            yield from _behind(source, makers)
