"""From torch.fx nodes to ONNX nodes, row by row: a table from modules and functions to what a runtime executes.

The rules that make ONNX Runtime run integer kernels: unsigned 8-bit activations between QuantizeLinear and
DequantizeLinear, weights s8 per output channel, int32 biases on the grid of input times weight, a ReLU left to the
saturation of the quantizer behind it, and reshapes between quantizers of one grid. How weights are stored is in
`weights.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from compressors.formats import ActivationScheme
from compressors.masking.layers import mask_of
from compressors.quantization.activations import ActivationQuantizer, SharedGrid
from compressors.quantization.dynamic import DynamicLinear
from compressors.quantization.insertion import CLAMPING, ChannelSelection, PixelGrid
from compressors.quantization.modules import QuantizedConv2d, QuantizedLinear
from compressors.support import Unsupported, check_no_hooks
from nas.runtimes.onnx.dynamic import write_dynamic_linear
from nas.runtimes.onnx.weights import dequantized, float_weight
from nas.runtimes.onnx.writer import Quantizer, UnknownOperation, Writer, array_of

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


def _conv_attributes(path: str, conv: nn.Conv2d) -> dict[str, Any]:
    if not isinstance(conv.padding, tuple) or conv.padding_mode != "zeros":
        raise UnknownOperation(f"{path}: no ONNX rule for padding {conv.padding!r} with {conv.padding_mode}")
    return {
        "kernel_shape": list(conv.kernel_size),
        "strides": list(conv.stride),
        "pads": list(conv.padding) * 2,
        "dilations": list(conv.dilation),
        "group": conv.groups,
    }


def _conv(writer: Writer, node: fx.Node, conv: nn.Conv2d) -> str:
    inputs = _float_inputs(writer, node, conv)
    return _kept_float(
        writer, node, writer.add("Conv", inputs, name=str(node.target), **_conv_attributes(str(node.target), conv))
    )


def _linear(writer: Writer, node: fx.Node, linear: nn.Linear) -> str:
    _check_matrix(writer, node)
    inputs = _float_inputs(writer, node, linear)
    return _kept_float(writer, node, writer.add("Gemm", inputs, name=str(node.target), transB=1))


def _check_matrix(writer: Writer, node: fx.Node) -> None:
    """Gemm takes matrices: refuse a linear layer that works on images."""
    rank = _rank(writer, node.all_input_nodes[0])
    if rank != 2:
        raise UnknownOperation(
            f"{node.target}: no ONNX rule for a linear layer on a tensor of {rank} dimensions, only 2"
        )


def _rank(writer: Writer, node: fx.Node) -> int:
    """Dimensions of a tensor; every operation of the tables but flatten keeps them."""
    while node.op != "placeholder":
        if node.target is torch.flatten:
            return 2
        node = node.all_input_nodes[0]
    return 4


def _float_inputs(writer: Writer, node: fx.Node, layer: nn.Conv2d | nn.Linear) -> list[str]:
    mask = mask_of(layer)
    kept = None if mask is None else array_of(mask)
    inputs = [writer.source(node), float_weight(writer, str(node.target), array_of(layer.weight), kept)]
    return inputs if layer.bias is None else [*inputs, writer.constant(array_of(layer.bias), f"{node.target}.bias")]


def _kept_float(writer: Writer, node: fx.Node, output: str) -> str:
    """Behind a float layer between integer tensors, a LeakyRelu of slope 1: an operation that changes nothing.

    Where at most a ReLU stands between such a layer and the next quantizer, ONNX Runtime takes its float weights for
    an oversight and rounds them to 8 bits (WeightBiasQuantization). LeakyRelu stops that and fuses with the layer.
    """
    reads_codes = isinstance(writer.modules.get(str(node.all_input_nodes[0].target)), Quantizer)
    users = list(node.users)
    clamped = len(users) == 1 and type(writer.modules.get(str(users[0].target))) in CLAMPING
    is_quantized_again = writer.sole_quantizer(users[0] if clamped else node) is not None
    return writer.add("LeakyRelu", [output], alpha=1.0) if reads_codes and is_quantized_again else output


def _quantized_conv(writer: Writer, node: fx.Node, module: QuantizedConv2d) -> str:
    inputs = [writer.source(node), *dequantized(writer, str(node.target), module.packed())]
    return writer.add("Conv", inputs, name=str(node.target), **_conv_attributes(str(node.target), module.layer))


def _quantized_linear(writer: Writer, node: fx.Node, module: QuantizedLinear) -> str:
    _check_matrix(writer, node)
    packed = module.packed()
    if packed.zero_points is None:
        # Without its zero point on the weight the runtime does not fuse a Gemm (a Conv it does).
        packed = replace(packed, zero_points=torch.zeros_like(packed.scales, dtype=torch.int8))
    inputs = [writer.source(node), *dequantized(writer, str(node.target), packed)]
    return writer.add("Gemm", inputs, name=str(node.target), transB=1)


def _dynamic_linear(writer: Writer, node: fx.Node, module: DynamicLinear) -> str:
    _check_matrix(writer, node)
    return write_dynamic_linear(writer, writer.source(node), str(node.target), module)


def _quantizer(writer: Writer, node: fx.Node, module: Quantizer) -> str:
    """QuantizeLinear and DequantizeLinear on the module's grid; pixels go to their codes without arithmetic."""
    scale, zero_point = module.grid()
    scheme = module.scheme
    if scheme.bits != 8:
        raise UnknownOperation(f"{node.target}: no ONNX rule for activations of {scheme.bits} bits, only of 8")
    from_pixels = _is_normalize(writer, node.all_input_nodes[0]) and scheme.holds_pixels
    stored = _grid(writer, scheme, *((1 / 255, scheme.low) if from_pixels else (scale, zero_point)))
    codes = writer.add("QuantizeLinear", [writer.source(node), *stored])
    return writer.add("DequantizeLinear", [codes, *_grid(writer, scheme, scale, zero_point)])


def _grid(writer: Writer, scheme: ActivationScheme, scale: float, zero_point: int) -> list[str]:
    kind = np.int8 if scheme.signed else np.uint8
    return [writer.scalar(np.float32(scale)), writer.scalar(kind(zero_point))]


def _is_normalize(writer: Writer, node: fx.Node) -> bool:
    return node.op == "call_module" and isinstance(writer.modules[str(node.target)], PixelGrid)


def _normalize(writer: Writer, node: fx.Node, module: Any) -> str:
    quantizer = writer.sole_quantizer(node)
    if quantizer is not None and quantizer.scheme.holds_pixels:
        return writer.source(node)
    mean, std = (writer.scalar(np.float32(float(value))) for value in (module.mean, module.std))
    return writer.add("Div", [writer.add("Sub", [writer.source(node), mean]), std])


def _relu(writer: Writer, node: fx.Node, module: nn.Module) -> str:
    """Nothing where the quantizer behind saturates at zero (and at six) by itself."""
    limit = np.inf
    if isinstance(module, nn.ReLU6):
        if (module.min_val, module.max_val) != (0, 6):
            raise UnknownOperation(f"{node.target}: no ONNX rule for ReLU6 with {module.min_val} and {module.max_val}")
        limit = 6.0
    quantizer = writer.sole_quantizer(node)
    if quantizer is not None:
        scale, zero_point = quantizer.grid()
        scheme = quantizer.scheme
        if zero_point == scheme.low and scale * scheme.levels <= limit * (1 + 1e-6):
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


def _max_pool(writer: Writer, node: fx.Node, module: nn.MaxPool2d) -> str:
    if module.return_indices:
        raise UnknownOperation(f"{node.target}: no ONNX rule for max pooling that returns indices")
    return writer.add(
        "MaxPool",
        [writer.source(node)],
        kernel_shape=_pair(module.kernel_size),
        strides=_pair(module.stride),
        pads=_pair(module.padding) * 2,
        dilations=_pair(module.dilation),
        ceil_mode=int(module.ceil_mode),
    )


def _pair(size: int | tuple[int, ...]) -> list[int]:
    """A size for height and width."""
    return [size, size] if isinstance(size, int) else list(size)


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
    QuantizedConv2d: _quantized_conv,
    QuantizedLinear: _quantized_linear,
    DynamicLinear: _dynamic_linear,
    ActivationQuantizer: _quantizer,
    SharedGrid: _quantizer,
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.ReLU: _relu,
    nn.ReLU6: _relu,
    nn.Hardswish: _hardswish,
    nn.Hardsigmoid: _hardsigmoid,
    nn.AdaptiveAvgPool2d: _global_average,
    nn.MaxPool2d: _max_pool,
}
_PROTOCOLS: Mapping[type, Emit] = {PixelGrid: _normalize, ChannelSelection: _select}
_FUNCTIONS: Mapping[Callable[..., Any], Emit] = {
    operator.add: _binary("Add"),
    operator.mul: _binary("Mul"),
    torch.cat: _concatenate,
    torch.flatten: _flatten,
}
