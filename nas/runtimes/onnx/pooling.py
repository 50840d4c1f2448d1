"""Rows of the table in `nodes.py`: what pooling becomes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np
from torch import fx, nn

from nas.runtimes.onnx.writer import Quantizer, UnknownOperation, Writer

HEIGHT, WIDTH = 2, 3  # axes of (N, C, H, W)


def write_max(writer: Writer, node: fx.Node, module: nn.MaxPool2d) -> str:
    """The largest of a window; (N, C, H, W) -> (N, C, H', W')."""
    if module.return_indices:
        raise UnknownOperation(f"{node.target}: no ONNX rule for max pooling that returns indices")
    return writer.add(
        "MaxPool",
        [writer.source(node)],
        kernel_shape=pair(module.kernel_size),
        strides=pair(module.stride),
        pads=pair(module.padding) * 2,
        dilations=pair(module.dilation),
        ceil_mode=int(module.ceil_mode),
    )


def write_average(writer: Writer, node: fx.Node, module: nn.AvgPool2d) -> str:
    """The mean of a window; (N, C, H, W) -> (N, C, H', W').

    Where windows reach beyond the padding that is counted, ONNX Runtime's integer kernel divides by too much: a
    LeakyRelu of slope 1, which changes nothing, keeps such a pooling in floats.
    """
    if module.divisor_override is not None:
        raise UnknownOperation(f"{node.target}: no ONNX rule for average pooling with a divisor of its own")
    padding = pair(module.padding)
    counts_padding = module.count_include_pad and any(padding)
    pooled = writer.add(
        "AveragePool",
        [writer.source(node)],
        kernel_shape=pair(module.kernel_size),
        strides=pair(module.stride),
        pads=padding * 2,
        ceil_mode=int(module.ceil_mode),
        count_include_pad=int(counts_padding),
    )
    goes_wrong = module.ceil_mode and counts_padding and writer.sole_quantizer(node) is not None
    return writer.add("LeakyRelu", [pooled], alpha=1.0) if goes_wrong else pooled


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
            value = _gathered(writer, node, value, places, axis)
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


def _gathered(writer: Writer, node: fx.Node, value: str, places: Sequence[int], axis: int) -> str:
    """Pixels in another order; between codes on the grid that they lie on."""
    moved = writer.add("Gather", [value, writer.constant(np.array(places, np.int64))], axis=axis)
    before = writer.modules.get(str(node.all_input_nodes[0].target))
    return writer.on_grid(moved, before) if isinstance(before, Quantizer) else moved


def pair(size: int | tuple[int, ...]) -> list[int]:
    """A size for height and width."""
    return [size, size] if isinstance(size, int) else list(size)
