"""What a network's code holds while it is read: a blueprint's node, and how its elements have been moved since.

The size of images is not known here. Batch, height and width are stood for by numbers that nobody writes by hand, so
that whatever the code computes from them is recognised, and each movement is run twice: without data at these sizes,
which gives the shape that the code would see, and on the numbers of elements at sizes of 2, 3 and 5, which shows what
went where.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

BATCH, HEIGHT, WIDTH = 10007, 100003, 100019  # primes
_SMALL = {BATCH: 2, HEIGHT: 3, WIDTH: 5}
UNKNOWN = (HEIGHT, WIDTH)
Shape = tuple[int, ...]


@dataclass(eq=False)
class Value:
    """The output of a node, as moved.

    node: of the blueprint. origin: shape of that node's output. shape: as moved. numbers: of the elements of the
    node's output, where they are now, at small sizes; None where nothing was moved.
    """

    node: str
    origin: Shape
    shape: Shape = ()
    numbers: Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.shape = self.shape or self.origin

    @property
    def is_map(self) -> bool:
        return len(self.shape) == 4

    def become(self, node: str, shape: Shape) -> None:
        """Be the output of another node, for all that hold this value: an operation in place."""
        self.node, self.origin, self.shape, self.numbers = node, shape, shape, None


class MovedOtherwise(Exception):
    """A movement that is not the same at all sizes."""


def is_unknown(size: int) -> bool:
    """Whether a number depends on the size of images."""
    return any(size % prime == 0 for prime in _SMALL) and size != 0


def small(value: Any) -> Any:
    """Numbers at small sizes, in whatever they are nested."""
    if isinstance(value, bool) or not isinstance(value, int | tuple | list):
        return value
    if isinstance(value, tuple | list):
        return tuple(small(each) for each in value)
    for prime, size in _SMALL.items() if value else ():
        while value % prime == 0:
            value = value // prime * size
    return value


def moved(value: Value, movement: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a function that moves elements; a tuple of values where it gives several tensors.

    Raises MovedOtherwise where the outcome depends on sizes, and what torch raises where it cannot be done.
    """
    full = movement(torch.empty(value.shape, device="meta"), *args, **kwargs)
    small_args = {name: small(each) for name, each in kwargs.items()}
    found = movement(numbers_of(value), *small(args), **small_args)
    if isinstance(full, Tensor):
        return _value(value, full, found)
    if len(full) != len(found):
        raise MovedOtherwise
    return tuple(_value(value, *pair) for pair in zip(full, found, strict=True))


def numbers_of(value: Value) -> Tensor:
    """Of each element at small sizes, the number that it has in the output of the value's node."""
    if value.numbers is not None:
        return value.numbers
    shape = small(value.origin)
    return torch.arange(torch.Size(shape).numel()).reshape(shape)


def _value(before: Value, full: Tensor, numbers: Tensor) -> Value:
    if small(tuple(full.shape)) != tuple(numbers.shape):
        raise MovedOtherwise
    return Value(before.node, before.origin, tuple(full.shape), numbers)


def said(shape: Shape) -> str:
    """A shape for a reader."""
    return f"({', '.join('?' if is_unknown(size) else str(size) for size in shape)})"
