"""Rows of the table in `nodes.py`: what pooling becomes."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

import numpy as np
from torch import fx, nn

from nas.runtimes.onnx.writer import Quantizer, UnknownOperation, Writer

HEIGHT, WIDTH = 2, 3  # axes of (N, C, H, W)


def write_max(writer: Writer, node: fx.Node, module: nn.MaxPool2d) -> str:
    """The largest of a window; (N, C, H, W) -> (N, C, H', W')."""
    if module.return_indices:
        raise UnknownOperation(f"{node.target}: no ONNX rule for max pooling that returns indices")
    window = _window(writer, node, module, pair(module.dilation))
    return writer.add("MaxPool", [writer.source(node)], dilations=pair(module.dilation), **window)


def write_average(writer: Writer, node: fx.Node, module: nn.AvgPool2d) -> str:
    """The mean of a window; (N, C, H, W) -> (N, C, H', W').

    Padding is counted, what a window lacks beyond it is not: where there is both, the padding becomes pixels first.
    """
    if module.divisor_override is not None:
        raise UnknownOperation(f"{node.target}: no ONNX rule for average pooling with a divisor of its own")
    value, padding, window = writer.source(node), pair(module.padding), _window(writer, node, module, [1, 1])
    counts_padding = module.count_include_pad and any(padding)
    beyond = [max(0, end - side) for end, side in zip(window["pads"][2:], padding, strict=True)]
    if counts_padding and any(beyond):
        pads = writer.constant(np.array([0, 0, *padding] * 2, np.int64))
        value = _between_codes(writer, node, writer.add("Pad", [value, pads]))
        window["pads"], counts_padding = [0, 0, *beyond], False
    return writer.add("AveragePool", [value], count_include_pad=int(counts_padding), **window)


def _window(writer: Writer, node: fx.Node, module: nn.MaxPool2d | nn.AvgPool2d, dilation: list[int]) -> dict[str, Any]:
    """Kernel, strides and pads. With `ceil_mode` the pads are as large as the last window needs: where that may begin
    is another matter in ONNX than in torch.
    """
    kernel, stride, padding = pair(module.kernel_size), pair(module.stride), pair(module.padding)
    ends = padding
    if module.ceil_mode:
        sides = writer.maps[str(node.target)]
        spans = [spread * (size - 1) + 1 for size, spread in zip(kernel, dilation, strict=True)]
        ends = [missing_behind(*numbers) for numbers in zip(sides, spans, stride, padding, strict=True)]
    return {"kernel_shape": kernel, "strides": stride, "pads": [*padding, *ends]}


def missing_behind(side: int, span: int, stride: int, padding: int) -> int:
    """How many pixels the last window lacks at the end of an axis of `side` pixels, `padding` of them before it.

    It is the last that begins within the axis or the padding before it, and that the one before does not end it all.
    """
    last = -(-(side + 2 * padding - span) // stride)
    if last * stride >= side + padding:
        last -= 1
    return max(0, last * stride + span - side - padding)


def write_adaptive_average(writer: Writer, node: fx.Node, module: nn.AdaptiveAvgPool2d) -> str:
    """Means of as many windows as asked for: (N, C, H, W) -> (N, C, *output_size).

    Where windows overlap or differ in size, rows and columns are repeated until they do not, which leaves the means.
    """
    size = module.output_size if isinstance(module.output_size, tuple) else (module.output_size,) * 2
    if None in size:
        raise UnknownOperation(f"{node.target}: no ONNX rule for adaptive pooling to {size}")
    if size == (1, 1):
        return writer.add("GlobalAveragePool", [writer.source(node)])
    value, sides = writer.source(node), []
    for axis, have, want in zip((HEIGHT, WIDTH), writer.maps[str(node.target)], size, strict=True):
        places, side = windows(have, int(want or 1))
        sides.append(side)
        if places != list(range(have)):
            indices = writer.constant(np.array(places, np.int64))
            value = _between_codes(writer, node, writer.add("Gather", [value, indices], axis=axis))
    return value if sides == [1, 1] else writer.add("AveragePool", [value], kernel_shape=sides, strides=sides)


def windows(have: int, want: int) -> tuple[list[int], int]:
    """Places along an axis of `have` pixels, and how many of them make each of the `want` windows of adaptive pooling.

    Window i reaches from floor(i * have / want) to ceil((i + 1) * have / want). All have one size in the places: the
    least common multiple of the windows' own, each pixel standing there equally often.
    """
    ends = [(i * have // want, -(-(i + 1) * have // want)) for i in range(want)]
    side = math.lcm(*(stop - start for start, stop in ends))
    repeated = ([place] * (side // (stop - start)) for start, stop in ends for place in range(start, stop))
    return list(chain.from_iterable(repeated)), side


def _between_codes(writer: Writer, node: fx.Node, moved: str) -> str:
    """What was moved of a node's input; between codes on the grid that they lie on."""
    before = writer.modules.get(str(node.all_input_nodes[0].target))
    return writer.on_grid(moved, before) if isinstance(before, Quantizer) else moved


def pair(size: int | tuple[int, ...]) -> list[int]:
    """A size for height and width."""
    return [size, size] if isinstance(size, int) else list(size)
