"""From torch.fx nodes to ONNX nodes, row by row: a table from modules and functions to what a runtime executes.

The rules that make ONNX Runtime run integer kernels: unsigned 8-bit activations between QuantizeLinear and
DequantizeLinear, weights s8 per output channel, int32 biases on the grid of input times weight, a ReLU left to the
saturation of the quantizer behind it, and reshapes between quantizers of one grid. Rows of layers are in
`layers.py`, of pooling in `pooling.py`, of activations in `pointwise.py`; how weights are stored is in `weights.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from compressors.quantization.activations import ActivationQuantizer, SharedGrid
from compressors.quantization.dynamic import DynamicLinear
from compressors.quantization.modules import QuantizedConv2d, QuantizedLinear
from compressors.quantization.placing import ChannelSelection, PixelGrid
from compressors.support import Unsupported, check_no_hooks
from nas.runtimes.onnx import pointwise, pooling
from nas.runtimes.onnx.layers import (
    write_conv,
    write_dynamic,
    write_linear,
    write_quantized_conv,
    write_quantized_linear,
)
from nas.runtimes.onnx.writer import Quantizer, UnknownOperation, Writer, array_of
from search_spaces.blocks import NormalizeChannels

Emit = Callable[[Writer, fx.Node, Any], str]


def write_node(writer: Writer, node: fx.Node) -> None:
    """Append what an fx node becomes. Raises UnknownOperation where the table has no row for it."""
    _BY_OP[node.op](writer, node)


def _placeholder(writer: Writer, node: fx.Node) -> None:
    if "image" in writer.values.values():
        raise UnknownOperation(f"{node.target}: no ONNX rule for a second input of the network")
    writer.values[node] = "image"


def _output(writer: Writer, node: fx.Node) -> None:
    if not isinstance(node.args[0], fx.Node):
        raise UnknownOperation(f"no ONNX rule for several outputs of the network: {node.args[0]}")
    if not writer.nodes or writer.source(node) != writer.nodes[-1].output[0]:
        raise UnknownOperation("the network's output is not its last operation")
    writer.nodes[-1].output[0] = "logits"


def _call_module(writer: Writer, node: fx.Node) -> None:
    module, path = writer.modules[str(node.target)], str(node.target)
    rows = [_MODULES.get(type(module)), *(row for kind, row in _PROTOCOLS.items() if isinstance(module, kind))]
    row = next((row for row in rows if row is not None), None)
    if row is None:
        raise UnknownOperation(f"{path}: no ONNX rule for module {type(module).__name__}")
    if len(node.all_input_nodes) != 1 or len(node.args) + len(node.kwargs) != 1:
        raise UnknownOperation(
            f"{path}: no ONNX rule for {type(module).__name__} called with {node.args} {node.kwargs}"
        )
    _check(writer, node, module)
    writer.values[node] = row(writer, node, module)


def _check(writer: Writer, node: fx.Node, module: nn.Module) -> None:
    """Refuse what the torch network does beside the operation of a row."""
    path = str(node.target)
    try:
        check_no_hooks(path, module)
    except Unsupported as error:
        raise UnknownOperation(f"no ONNX rule: {error}") from None
    for name, parameter in module.named_parameters():
        if parameter.dtype != torch.float32:
            raise UnknownOperation(f"{path}: no ONNX rule for {name} of dtype {parameter.dtype}, only for float32")
    overwritten = _same_memory(writer, node.all_input_nodes[0]) if getattr(module, "inplace", False) else ()
    if any(len(source.users) > 1 for source in overwritten):
        raise UnknownOperation(f"{path}: no ONNX rule for inplace True where other operations read the same tensor")


def _call_function(writer: Writer, node: fx.Node) -> None:
    row = _FUNCTIONS.get(node.target)  # type: ignore[arg-type]
    if row is None:
        raise UnknownOperation(f"{node.name}: no ONNX rule for {node.target}")
    writer.values[node] = row(writer, node, None)


def _unknown(writer: Writer, node: fx.Node) -> None:
    raise UnknownOperation(f"{node.name}: no ONNX rule for {node.op} {node.target}")


def _same_memory(writer: Writer, node: fx.Node) -> Iterator[fx.Node]:
    """The node, and those before it whose result it shows without a copy."""
    yield node
    while node.target is torch.flatten or isinstance(writer.modules.get(str(node.target)), SharedGrid):
        node = node.all_input_nodes[0]
        yield node


def _quantizer(writer: Writer, node: fx.Node, module: Quantizer) -> str:
    """QuantizeLinear and DequantizeLinear on the module's grid; pixels go to their codes without arithmetic."""
    scheme, before = module.scheme, node.all_input_nodes[0]
    if scheme.bits != 8:
        raise UnknownOperation(f"{node.target}: no ONNX rule for activations of {scheme.bits} bits, only of 8")
    is_normalize = before.op == "call_module" and isinstance(writer.modules[str(before.target)], PixelGrid)
    from_pixels = is_normalize and scheme.holds_pixels
    return writer.on_grid(writer.source(node), module, read_on=(1 / 255, scheme.low) if from_pixels else None)


def _normalize(writer: Writer, node: fx.Node, module: Any) -> str:
    quantizer = writer.sole_quantizer(node)
    if quantizer is not None and quantizer.scheme.holds_pixels:
        return writer.source(node)
    mean, std = (writer.scalar(np.float32(float(value))) for value in (module.mean, module.std))
    return writer.add("Div", [writer.add("Sub", [writer.source(node), mean]), std])


def _normalize_channels(writer: Writer, node: fx.Node, module: NormalizeChannels) -> str:
    mean, std = (writer.constant(array_of(value)) for value in (module.mean, module.std))
    return writer.add("Div", [writer.add("Sub", [writer.source(node), mean]), std])


def _binary(op: str) -> Emit:
    def emit_binary(writer: Writer, node: fx.Node, _: Any) -> str:
        if node.kwargs or len(node.args) != 2 or not all(isinstance(part, fx.Node) for part in node.args):
            raise UnknownOperation(f"{node.name}: no ONNX rule for {op} with a constant")
        return writer.add(op, [writer.values[part] for part in node.args if isinstance(part, fx.Node)])

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
    parts = node.args[0]
    if not isinstance(parts, list | tuple):
        raise UnknownOperation(f"{node.name}: no ONNX rule for cat of {parts}")
    return writer.add("Concat", [writer.values[part] for part in parts if isinstance(part, fx.Node)], axis=1)


_BY_OP: Mapping[str, Callable[[Writer, fx.Node], None]] = {
    "placeholder": _placeholder,
    "output": _output,
    "call_module": _call_module,
    "call_function": _call_function,
    "call_method": _unknown,
    "get_attr": _unknown,
}
_MODULES: Mapping[type, Emit] = {
    QuantizedConv2d: write_quantized_conv,
    QuantizedLinear: write_quantized_linear,
    DynamicLinear: write_dynamic,
    ActivationQuantizer: _quantizer,
    SharedGrid: _quantizer,
    NormalizeChannels: _normalize_channels,
    nn.Conv2d: write_conv,
    nn.Linear: write_linear,
    nn.ReLU: pointwise.write_relu,
    nn.ReLU6: pointwise.write_relu,
    nn.Hardswish: pointwise.write_hardswish,
    nn.Hardsigmoid: pointwise.write_hardsigmoid,
    nn.Sigmoid: pointwise.write_sigmoid,
    nn.SiLU: pointwise.write_silu,
    nn.Tanh: pointwise.write_tanh,
    nn.GELU: pointwise.write_gelu,
    nn.ELU: pointwise.write_elu,
    nn.LeakyReLU: pointwise.write_leaky_relu,
    nn.MaxPool2d: pooling.write_max,
    nn.AvgPool2d: pooling.write_average,
    nn.AdaptiveAvgPool2d: pooling.write_adaptive_average,
}
_PROTOCOLS: Mapping[type, Emit] = {PixelGrid: _normalize, ChannelSelection: _select}
_FUNCTIONS: Mapping[Callable[..., Any], Emit] = {
    operator.add: _binary("Add"),
    operator.mul: _binary("Mul"),
    torch.cat: _concatenate,
    torch.flatten: _flatten,
}
