"""The ONNX graph while it is written: its nodes, its stored values and the names of what they compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from torch import Tensor, fx, nn

from compressors.quantization.activations import ActivationQuantizer, SharedGrid
from nas.runtimes.onnx.model import FunctionMaker
from nas.runtimes.onnx.storage import SMALLEST, Storage

Quantizer = ActivationQuantizer | SharedGrid
Size = tuple[int, int]  # height and width


class UnknownOperation(ValueError):
    """The graph holds an operation that the table does not know."""


@dataclass
class Writer:
    """ONNX nodes and weights so far, the value name of every fx node, and the model-local functions that are called.

    Only layers and what the runtime's graph is searched for carry long names: in a small network's file, names weigh
    as much as weights. `maps` are those that pooling reads, by its module path, where it depends on them; `taken` are
    names of nodes and of stored values.
    """

    modules: Mapping[str, nn.Module]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    values: dict[fx.Node, str] = field(default_factory=dict)
    scalars: dict[bytes, str] = field(default_factory=dict)
    functions: dict[str, FunctionMaker] = field(default_factory=dict)
    storage: Storage = SMALLEST
    maps: Mapping[str, Size] = field(default_factory=dict)
    taken: set[tuple[str, str]] = field(default_factory=set)

    def add(self, op: str, inputs: Sequence[str], *, name: str = "", **attributes: Any) -> str:
        """Append a node; returns its one output. A layer that runs twice names its first node only."""
        (output,) = self.add_many(op, inputs, 1, name=name, **attributes)
        return output

    def add_many(self, op: str, inputs: Sequence[str], outputs: int, *, name: str = "", **attributes: Any) -> list[str]:
        """Append a node of several outputs; those after the first have a letter behind the number."""
        number = len(self.nodes)
        names = [f"v{number}" + ("" if which == 0 else chr(ord("a") + which - 1)) for which in range(outputs)]
        name = "" if ("node", name) in self.taken else name
        self.taken.add(("node", name))
        self.nodes.append(helper.make_node(op, inputs, names, name=name, **attributes))
        return names

    def constant(self, value: np.ndarray[Any, Any], name: str = "") -> str:
        """A stored value; the weight of a layer that runs twice is stored once."""
        name = name or f"c{len(self.weights)}"
        if ("value", name) not in self.taken:
            self.taken.add(("value", name))
            self.weights.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def scalar(self, value: np.generic) -> str:
        """A constant without dimensions; equal ones are stored once."""
        key = value.dtype.str.encode() + value.tobytes()
        if key not in self.scalars:
            self.scalars[key] = self.constant(np.asarray(value))
        return self.scalars[key]

    def on_grid(self, value: str, quantizer: Quantizer, *, read_on: tuple[float, int] | None = None) -> str:
        """A value rounded to the quantizer's grid; with `read_on` to the codes of that grid, which mean the other's."""
        codes = self.add("QuantizeLinear", [value, *self._grid(quantizer, *(read_on or quantizer.grid()))])
        return self.add("DequantizeLinear", [codes, *self._grid(quantizer, *quantizer.grid())])

    def _grid(self, quantizer: Quantizer, scale: float, zero_point: int) -> list[str]:
        kind = np.int8 if quantizer.scheme.signed else np.uint8
        return [self.scalar(np.float32(scale)), self.scalar(kind(zero_point))]

    def source(self, node: fx.Node) -> str:
        """The value that a node with one input reads."""
        (source,) = node.all_input_nodes
        return self.values[source]

    def sole_quantizer(self, node: fx.Node) -> Quantizer | None:
        """The quantizer behind a tensor that nothing else reads."""
        users = list(node.users)
        module = self.modules.get(str(users[0].target)) if len(users) == 1 else None
        return module if isinstance(module, Quantizer) else None


def array_of(tensor: Tensor | None) -> np.ndarray[Any, Any]:
    """A tensor as it is stored."""
    assert tensor is not None
    array: np.ndarray[Any, Any] = tensor.detach().cpu().numpy()
    return array
