"""Rows of the table in `nodes.py`: what convolutions and linear layers become."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from compressors.masking.layers import mask_of
from compressors.quantization.dynamic import DynamicLinear
from compressors.quantization.modules import QuantizedConv2d, QuantizedLinear
from compressors.quantization.placing import CLAMPING, moves_codes
from nas.runtimes.onnx.dynamic import write_dynamic_linear
from nas.runtimes.onnx.weights import dequantized, float_weight
from nas.runtimes.onnx.writer import Quantizer, UnknownOperation, Writer, array_of


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


def write_conv(writer: Writer, node: fx.Node, conv: nn.Conv2d) -> str:
    """A convolution of floats: (N, C, H, W) -> (N, out, H', W')."""
    inputs = _float_inputs(writer, node, conv)
    return _kept_float(
        writer, node, writer.add("Conv", inputs, name=str(node.target), **_conv_attributes(str(node.target), conv))
    )


def write_linear(writer: Writer, node: fx.Node, linear: nn.Linear) -> str:
    """A linear layer of floats: (N, in) -> (N, out)."""
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

    Where at most a ReLU and moves of data stand between such a layer and the next quantizer, ONNX Runtime takes its
    float weights for an oversight and rounds them to 8 bits (WeightBiasQuantization). LeakyRelu stops that and fuses
    with the layer.
    """
    reads_codes = isinstance(writer.modules.get(str(node.all_input_nodes[0].target)), Quantizer)
    is_mistaken = reads_codes and _is_quantized_again(writer, node)
    return writer.add("LeakyRelu", [output], alpha=1.0) if is_mistaken else output


def _is_quantized_again(writer: Writer, node: fx.Node) -> bool:
    """Whether a quantizer stands behind a tensor, or behind what clamps or moves it: the runtime draws it forward."""
    while len(users := list(node.users)) == 1:
        node = users[0]
        module = writer.modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, Quantizer):
            return True
        if node.op == "output" or not (type(module) in CLAMPING or moves_codes(node, writer.modules)):
            return False
    return False


def write_quantized_conv(writer: Writer, node: fx.Node, module: QuantizedConv2d) -> str:
    """A convolution between codes, its weight and bias behind DequantizeLinear."""
    inputs = [writer.source(node), *dequantized(writer, str(node.target), module.packed())]
    return writer.add("Conv", inputs, name=str(node.target), **_conv_attributes(str(node.target), module.layer))


def write_quantized_linear(writer: Writer, node: fx.Node, module: QuantizedLinear) -> str:
    """A linear layer between codes, or from codes to floats where it is the last."""
    _check_matrix(writer, node)
    packed = module.packed()
    if packed.zero_points is None:
        # Without its zero point on the weight the runtime does not fuse a Gemm (a Conv it does).
        packed = replace(packed, zero_points=torch.zeros_like(packed.scales, dtype=torch.int8))
    inputs = [writer.source(node), *dequantized(writer, str(node.target), packed)]
    return writer.add("Gemm", inputs, name=str(node.target), transB=1)


def write_dynamic(writer: Writer, node: fx.Node, module: DynamicLinear) -> str:
    """A linear layer that rounds its inputs as it runs."""
    _check_matrix(writer, node)
    return write_dynamic_linear(writer, writer.source(node), str(node.target), module)
