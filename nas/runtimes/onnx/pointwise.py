"""Rows of the table in `nodes.py`: what activations become."""

from __future__ import annotations

import numpy as np
from torch import fx, nn

from nas.runtimes.onnx.writer import UnknownOperation, Writer


def write_relu(writer: Writer, node: fx.Node, module: nn.Module) -> str:
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


def write_hardswish(writer: Writer, node: fx.Node, _: nn.Module) -> str:
    return writer.add("HardSwish", [writer.source(node)])


def write_hardsigmoid(writer: Writer, node: fx.Node, _: nn.Module) -> str:
    return writer.add("HardSigmoid", [writer.source(node)], alpha=1 / 6, beta=0.5)


def write_sigmoid(writer: Writer, node: fx.Node, _: nn.Module) -> str:
    return writer.add("Sigmoid", [writer.source(node)])


def write_silu(writer: Writer, node: fx.Node, _: nn.Module) -> str:
    """x * sigmoid(x): the files' version of ONNX has no operation of its own for it."""
    source = writer.source(node)
    return writer.add("Mul", [source, writer.add("Sigmoid", [source])])


def write_tanh(writer: Writer, node: fx.Node, _: nn.Module) -> str:
    return writer.add("Tanh", [writer.source(node)])


def write_gelu(writer: Writer, node: fx.Node, module: nn.GELU) -> str:
    return writer.add("Gelu", [writer.source(node)], approximate=module.approximate)


def write_elu(writer: Writer, node: fx.Node, module: nn.ELU) -> str:
    return writer.add("Elu", [writer.source(node)], alpha=module.alpha)


def write_leaky_relu(writer: Writer, node: fx.Node, module: nn.LeakyReLU) -> str:
    return writer.add("LeakyRelu", [writer.source(node)], alpha=module.negative_slope)
