"""The layers that a layer is factored into, as plain data: their shapes follow from its own and the ranks. No torch.

A method is a row of METHODS here, with its numerics in the row of the same name in `numerics.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Pair = tuple[int, int]
Ranks = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """A layer: channels, and of a convolution kernel and stride as (height, width). As executed it has a bias."""

    inputs: int
    outputs: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    is_linear: bool = False
    is_depthwise: bool = False

    @property
    def weights(self) -> int:
        inputs = 1 if self.is_depthwise else self.inputs
        return inputs * self.outputs * self.kernel[0] * self.kernel[1]

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.outputs


@dataclass(frozen=True)
class FactorMethod:
    """One way of factoring.

    fits: whether a layer of a shape can be factored so. factors: its factors at given ranks, in order of execution.
    full: the ranks that lose nothing. has_spectrum: whether singular values can tell the ranks.
    """

    name: str
    fits: Callable[[Shape], bool]
    factors: Callable[[Shape, Ranks], tuple[Shape, ...]]
    full: Callable[[Shape], Ranks]
    has_spectrum: bool = True

    def parameters(self, shape: Shape, ranks: Ranks) -> int:
        return sum(factor.parameters for factor in self.factors(shape, ranks))

    def ladder(self, shape: Shape, step: int) -> Ranks:
        """The ranks of a step, from 1 to the largest of the full ranks: in proportion to them, at least 1."""
        full = self.full(shape)
        return tuple(max(1, -(-rank * step // max(full))) for rank in full)

    def within(self, shape: Shape, parameters: float) -> Ranks:
        """The largest ranks of the ladder whose factors have at most so many parameters; the smallest there are."""
        steps = range(1, max(self.full(shape)) + 1)
        fitting = bisect_right(steps, parameters, key=lambda step: self.parameters(shape, self.ladder(shape, step)))
        return self.ladder(shape, max(1, fitting))


def _is_full(shape: Shape) -> bool:
    return not shape.is_depthwise


def _is_spatial(shape: Shape) -> bool:
    """A convolution over pixels: factoring a matrix otherwise than by its singular values gains nothing."""
    return not (shape.is_depthwise or shape.is_linear) and min(shape.kernel) > 1


def _svd(shape: Shape, ranks: Ranks) -> tuple[Shape, ...]:
    """The layer with `rank` outputs, and a matrix behind it."""
    (rank,) = ranks
    first = Shape(shape.inputs, rank, shape.kernel, shape.stride, shape.is_linear)
    return first, Shape(rank, shape.outputs, is_linear=shape.is_linear)


def _spatial_svd(shape: Shape, ranks: Ranks) -> tuple[Shape, ...]:
    """A column of pixels, then a row."""
    (rank,), (height, width), (down, right) = ranks, shape.kernel, shape.stride
    return Shape(shape.inputs, rank, (height, 1), (down, 1)), Shape(rank, shape.outputs, (1, width), (1, right))


def _tucker(shape: Shape, ranks: Ranks) -> tuple[Shape, ...]:
    """Fewer channels, a small convolution of the layer's kernel, and more channels again."""
    first, last = ranks
    return Shape(shape.inputs, first), Shape(first, last, shape.kernel, shape.stride), Shape(last, shape.outputs)


def _cp(shape: Shape, ranks: Ranks) -> tuple[Shape, ...]:
    """Channels to `rank` components, a column and a row of pixels in each of them, and components to channels."""
    (rank,), (height, width), (down, right) = ranks, shape.kernel, shape.stride
    column = Shape(rank, rank, (height, 1), (down, 1), is_depthwise=True)
    row = Shape(rank, rank, (1, width), (1, right), is_depthwise=True)
    return Shape(shape.inputs, rank), column, row, Shape(rank, shape.outputs)


def _matrix_rank(shape: Shape) -> Ranks:
    return (min(shape.inputs * shape.kernel[0] * shape.kernel[1], shape.outputs),)


def _spatial_rank(shape: Shape) -> Ranks:
    return (min(shape.inputs * shape.kernel[0], shape.outputs * shape.kernel[1]),)


def _channel_ranks(shape: Shape) -> Ranks:
    pixels = shape.kernel[0] * shape.kernel[1]
    return min(shape.inputs, shape.outputs * pixels), min(shape.outputs, shape.inputs * pixels)


def _component_rank(shape: Shape) -> Ranks:
    """So many components are enough for any tensor of the shape: the product of all sizes but the largest."""
    sizes = sorted((shape.inputs, shape.outputs, *shape.kernel))
    return (sizes[0] * sizes[1] * sizes[2],)


METHODS: Mapping[str, FactorMethod] = {
    "svd": FactorMethod("svd", _is_full, _svd, _matrix_rank),
    "spatial_svd": FactorMethod("spatial_svd", _is_spatial, _spatial_svd, _spatial_rank),
    "tucker": FactorMethod("tucker", _is_spatial, _tucker, _channel_ranks),
    "cp": FactorMethod("cp", _is_spatial, _cp, _component_rank, has_spectrum=False),
}
