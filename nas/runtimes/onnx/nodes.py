"""From torch.fx nodes to ONNX nodes, row by row: a table from modules and functions to what a runtime executes.

The rules that make ONNX Runtime run integer kernels: unsigned 8-bit activations between QuantizeLinear and
DequantizeLinear, weights s8 per output channel, int32 biases on the grid of input times weight, a ReLU left to the
saturation of the quantizer behind it, and reshapes between quantizers of one grid. How weights below 8 bits are
stored is in `onnx_packing.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx, nn

from compressors.plan import BITS, WeightFormat
from compressors.quantization.insertion import CLAMPING, ChannelSelection, PixelGrid
from compressors.quantization.modules import ActivationQuantizer, QuantizedConv2d, QuantizedLinear, SharedGrid
from compressors.quantization.numerics import PackedWeight
from nas.runtimes.onnx.packing import FUNCTIONS, UNPACK, Codes, pack, to_planes

WEIGHT_SCALE = ".weight_scale"
ALL_FORMATS: frozenset[WeightFormat] = frozenset(BITS)
Quantizer = ActivationQuantizer | SharedGrid


class UnknownOperation(ValueError):
    """The graph holds an operation that the table does not know."""


@dataclass
class Writer:
    """ONNX nodes and weights so far, and the value name of every fx node.

    Only layers and what the runtime's graph is searched for carry long names: in a small network's file, names weigh
    as much as weights.
    """

    modules: Mapping[str, nn.Module]
    packed: frozenset[WeightFormat] = ALL_FORMATS  # the rest is stored as int8 codes
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    values: dict[fx.Node, str] = field(default_factory=dict)
    scalars: dict[bytes, str] = field(default_factory=dict)
    unpacked: set[int] = field(default_factory=set)

    def add(self, op: str, inputs: Sequence[str], *, name: str = "", **attributes: Any) -> str:
        """Append a node; returns its one output. A layer that runs twice names its first node only."""
        output = f"v{len(self.nodes)}"
        name = "" if any(node.name == name for node in self.nodes) else name
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def constant(self, value: np.ndarray[Any, Any], name: str = "") -> str:
        """A stored value; the weight of a layer that runs twice is stored once."""
        name = name or f"c{len(self.weights)}"
        if all(weight.name != name for weight in self.weights):
            self.weights.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def scalar(self, value: np.generic) -> str:
        """A constant without dimensions; equal ones are stored once."""
        key = value.dtype.str.encode() + value.tobytes()
        if key not in self.scalars:
            self.scalars[key] = self.constant(np.asarray(value))
        return self.scalars[key]

    def source(self, node: fx.Node, index: int = 0) -> str:
        return self.values[node.all_input_nodes[index]]

    def sole_quantizer(self, node: fx.Node) -> Quantizer | None:
        """The quantizer behind a tensor that nothing else reads."""
        users = list(node.users)
        module = self.modules.get(str(users[0].target)) if len(users) == 1 else None
        return module if isinstance(module, Quantizer) else None


Emit = Callable[[Writer, fx.Node, Any], str]


def write_node(writer: Writer, node: fx.Node) -> None:
    """Append what an fx node becomes. Raises UnknownOperation where the table has no row for it."""
    _BY_OP[node.op](writer, node)


def _placeholder(writer: Writer, node: fx.Node) -> None:
    writer.values[node] = "image"


def _output(writer: Writer, node: fx.Node) -> None:
    last = writer.nodes[-1]
    if writer.source(node) != last.output[0]:
        raise UnknownOperation("the network's output is not its last operation")
    last.output[0] = "logits"


def _call_module(writer: Writer, node: fx.Node) -> None:
    module = writer.modules[str(node.target)]
    for kind, row in _MODULES.items():
        if isinstance(module, kind):
            writer.values[node] = row(writer, node, module)
            return
    raise UnknownOperation(f"{node.target}: no ONNX rule for module {type(module).__name__}")


def _call_function(writer: Writer, node: fx.Node) -> None:
    row = _FUNCTIONS.get(node.target)  # type: ignore[arg-type]
    if row is None:
        raise UnknownOperation(f"{node.name}: no ONNX rule for {node.target}")
    writer.values[node] = row(writer, node, None)


def _unknown(writer: Writer, node: fx.Node) -> None:
    raise UnknownOperation(f"{node.name}: no ONNX rule for {node.op} {node.target}")


def _array(tensor: Tensor | None) -> np.ndarray[Any, Any]:
    assert tensor is not None
    array: np.ndarray[Any, Any] = tensor.detach().cpu().numpy()
    return array


def _conv_attributes(conv: nn.Conv2d) -> dict[str, Any]:
    if isinstance(conv.padding, str) or conv.padding_mode != "zeros":
        raise UnknownOperation(f"no ONNX rule for padding {conv.padding!r} with {conv.padding_mode}")
    return {
        "kernel_shape": list(conv.kernel_size),
        "strides": list(conv.stride),
        "pads": list(conv.padding) * 2,
        "dilations": list(conv.dilation),
        "group": conv.groups,
    }


def _conv(writer: Writer, node: fx.Node, conv: nn.Conv2d) -> str:
    inputs = _float_inputs(writer, node, conv)
    return _kept_float(writer, node, writer.add("Conv", inputs, name=str(node.target), **_conv_attributes(conv)))


def _linear(writer: Writer, node: fx.Node, linear: nn.Linear) -> str:
    inputs = _float_inputs(writer, node, linear)
    return _kept_float(writer, node, writer.add("Gemm", inputs, name=str(node.target), transB=1))


def _float_inputs(writer: Writer, node: fx.Node, layer: nn.Conv2d | nn.Linear) -> list[str]:
    inputs = [writer.source(node), writer.constant(_array(layer.weight), f"{node.target}.weight")]
    return inputs if layer.bias is None else [*inputs, writer.constant(_array(layer.bias), f"{node.target}.bias")]


def _kept_float(writer: Writer, node: fx.Node, output: str) -> str:
    """Behind a float layer between integer tensors, a LeakyRelu of slope 1: an operation that changes nothing.

    Where at most a ReLU stands between such a layer and the next quantizer, ONNX Runtime takes its float weights for
    an oversight and rounds them to 8 bits (WeightBiasQuantization). LeakyRelu stops that and fuses with the layer.
    """
    reads_codes = isinstance(writer.modules.get(str(node.all_input_nodes[0].target)), Quantizer)
    users = list(node.users)
    clamped = len(users) == 1 and isinstance(writer.modules.get(str(users[0].target)), CLAMPING)
    is_quantized_again = writer.sole_quantizer(users[0] if clamped else node) is not None
    return writer.add("LeakyRelu", [output], alpha=1.0) if reads_codes and is_quantized_again else output


def _quantized_conv(writer: Writer, node: fx.Node, module: QuantizedConv2d) -> str:
    inputs = [writer.source(node), *_dequantized(writer, str(node.target), module.packed())]
    return writer.add("Conv", inputs, name=str(node.target), **_conv_attributes(module.layer))


def _quantized_linear(writer: Writer, node: fx.Node, module: QuantizedLinear) -> str:
    packed = module.packed()
    # Without its zero point on the weight the runtime does not fuse a Gemm (a Conv it does).
    zero_point = writer.constant(np.zeros(len(packed.scales), np.int8))
    inputs = [writer.source(node), *_dequantized(writer, str(node.target), packed, zero_point)]
    return writer.add("Gemm", inputs, name=str(node.target), transB=1)


def _dequantized(writer: Writer, layer: str, packed: PackedWeight, *zero_point: str) -> tuple[str, str]:
    """Weight and bias as stored codes behind DequantizeLinear."""
    scales = _array(packed.scales)
    scale = writer.constant(scales, layer + WEIGHT_SCALE)
    store = _STORE[packed.bits] if f"int{packed.bits}" in writer.packed else _store_int8
    codes = store(writer, _array(packed.codes))
    weight = writer.add("DequantizeLinear", [codes, scale, *zero_point], axis=0)
    bias_codes = writer.constant(_array(packed.bias_codes))
    bias_scale = writer.constant((np.float32(packed.input_scale) * scales).astype(np.float32))
    return weight, writer.add("DequantizeLinear", [bias_codes, bias_scale], axis=0)


def _store_int8(writer: Writer, codes: Codes) -> str:
    return writer.constant(codes)


def _store_int4(writer: Writer, codes: Codes) -> str:
    return _store_packed(writer, codes, TensorProto.INT4, 4)


def _store_int2(writer: Writer, codes: Codes) -> str:
    return _store_packed(writer, codes, TensorProto.INT2, 2)


def _store_packed(writer: Writer, codes: Codes, kind: int, bits: int) -> str:
    """ONNX's own narrow type and a cast that the runtime folds when it loads the file."""
    name = f"c{len(writer.weights)}"
    packed = pack(codes, bits).tobytes()
    writer.weights.append(helper.make_tensor(name, kind, codes.shape, packed, raw=True))
    return writer.add("Cast", [name], to=TensorProto.INT8)


def _store_planes(bits: int) -> Callable[[Writer, Codes], str]:
    def store(writer: Writer, codes: Codes) -> str:
        planes = writer.constant(to_planes(codes, bits))
        shape = writer.constant(np.array(codes.shape, np.int64))
        writer.unpacked.add(bits)
        return writer.add(f"{UNPACK}{bits}", [planes, shape], domain=FUNCTIONS)

    return store


_STORE: Mapping[int, Callable[[Writer, Codes], str]] = {
    8: _store_int8,
    4: _store_int4,
    2: _store_int2,
    **{bits: _store_planes(bits) for bits in (3, 5, 6)},
}


def _quantizer(writer: Writer, node: fx.Node, module: Quantizer) -> str:
    """QuantizeLinear and DequantizeLinear on the module's grid; pixels go to their codes without arithmetic."""
    scale, zero_point = module.grid()
    from_pixels = _is_normalize(writer, node.all_input_nodes[0])
    stored = _grid(writer, *((1 / 255, 0) if from_pixels else (scale, zero_point)))
    codes = writer.add("QuantizeLinear", [writer.source(node), *stored])
    return writer.add("DequantizeLinear", [codes, *_grid(writer, scale, zero_point)])


def _grid(writer: Writer, scale: float, zero_point: int) -> list[str]:
    return [writer.scalar(np.float32(scale)), writer.scalar(np.uint8(zero_point))]


def _is_normalize(writer: Writer, node: fx.Node) -> bool:
    return node.op == "call_module" and isinstance(writer.modules[str(node.target)], PixelGrid)


def _normalize(writer: Writer, node: fx.Node, module: Any) -> str:
    if writer.sole_quantizer(node) is not None:
        return writer.source(node)
    mean, std = (writer.scalar(np.float32(float(value))) for value in (module.mean, module.std))
    return writer.add("Div", [writer.add("Sub", [writer.source(node), mean]), std])


def _relu(writer: Writer, node: fx.Node, module: nn.Module) -> str:
    """Nothing where the quantizer behind saturates at zero (and at six) by itself."""
    limit = 6.0 if isinstance(module, nn.ReLU6) else np.inf
    quantizer = writer.sole_quantizer(node)
    if quantizer is not None:
        scale, zero_point = quantizer.grid()
        if zero_point == 0 and scale * 255 <= limit * (1 + 1e-6):
            return writer.source(node)
    if limit == np.inf:
        return writer.add("Relu", [writer.source(node)])
    return writer.add("Clip", [writer.source(node), writer.scalar(np.float32(0)), writer.scalar(np.float32(limit))])


def _hardswish(writer: Writer, node: fx.Node, _: nn.Module) -> str:
    return writer.add("HardSwish", [writer.source(node)])


def _hardsigmoid(writer: Writer, node: fx.Node, _: nn.Module) -> str:
    return writer.add("HardSigmoid", [writer.source(node)], alpha=1 / 6, beta=0.5)


def _global_average(writer: Writer, node: fx.Node, module: nn.AdaptiveAvgPool2d) -> str:
    if module.output_size not in (1, (1, 1)):
        raise UnknownOperation(f"{node.target}: no ONNX rule for adaptive pooling to {module.output_size}")
    return writer.add("GlobalAveragePool", [writer.source(node)])


def _binary(op: str) -> Emit:
    def emit_binary(writer: Writer, node: fx.Node, _: Any) -> str:
        if len(node.all_input_nodes) != 2:
            raise UnknownOperation(f"{node.name}: no ONNX rule for {op} with a constant")
        return writer.add(op, [writer.source(node, 0), writer.source(node, 1)])

    return emit_binary


def _flatten(writer: Writer, node: fx.Node, _: Any) -> str:
    if node.args[1:] != (1,) or node.kwargs:
        raise UnknownOperation(f"{node.name}: no ONNX rule for flatten{node.args[1:]}")
    return writer.add("Flatten", [writer.source(node)], axis=1)


def _select(writer: Writer, node: fx.Node, module: ChannelSelection) -> str:
    indices = writer.constant(np.array(module.selected(), np.int64))
    return writer.add("Gather", [writer.source(node), indices], axis=1)


def _concatenate(writer: Writer, node: fx.Node, _: Any) -> str:
    if node.args[1:] != (1,) or node.kwargs:
        raise UnknownOperation(f"{node.name}: no ONNX rule for cat{node.args[1:]}")
    return writer.add("Concat", [writer.values[part] for part in node.all_input_nodes], axis=1)


_BY_OP: Mapping[str, Callable[[Writer, fx.Node], None]] = {
    "placeholder": _placeholder,
    "output": _output,
    "call_module": _call_module,
    "call_function": _call_function,
    "call_method": _unknown,
    "get_attr": _unknown,
}
_MODULES: Mapping[type, Emit] = {
    QuantizedConv2d: _quantized_conv,
    QuantizedLinear: _quantized_linear,
    ActivationQuantizer: _quantizer,
    SharedGrid: _quantizer,
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.ReLU: _relu,
    nn.ReLU6: _relu,
    nn.Hardswish: _hardswish,
    nn.Hardsigmoid: _hardsigmoid,
    nn.AdaptiveAvgPool2d: _global_average,
    PixelGrid: _normalize,
    ChannelSelection: _select,
}
_FUNCTIONS: Mapping[Callable[..., Any], Emit] = {
    operator.add: _binary("Add"),
    operator.mul: _binary("Mul"),
    torch.cat: _concatenate,
    torch.flatten: _flatten,
}
