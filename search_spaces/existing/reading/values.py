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


@dataclass(frozen=True)
class Arrangement:
    """What a movement comes to: channels that are chosen or None for all in order; whether maps are flattened then;
    features that are chosen behind that, or None; whether features become maps of one pixel.
    """

    channels: tuple[int, ...] | None = None
    is_flattened: bool = False
    features: tuple[int, ...] | None = None
    is_raised: bool = False


def arrangement(value: Value) -> Arrangement | None:
    """How a value is had of its node's output by whole channels; None where that cannot be said."""
    if value.numbers is None:
        return Arrangement()
    numbers, origin = value.numbers, small(value.origin)
    if value.shape[:1] != value.origin[:1]:
        return None
    if len(origin) == 2:
        return _of_features(value, numbers, origin)
    pixels = origin[2] * origin[3]
    if value.is_map and value.shape[2:] == value.origin[2:]:
        channels = _whole(numbers, origin[1], pixels)
        return None if channels is None else Arrangement(channels=_unless_all(channels, origin[1]))
    if len(value.shape) != 2:
        return None
    channels = _whole(numbers, origin[1], pixels) if numbers.shape[1] % pixels == 0 else None
    if channels is not None:
        return Arrangement(channels=_unless_all(channels, origin[1]), is_flattened=True)
    if value.origin[2:] != tuple(origin[2:]):  # which features they are depends on the size of images
        return None
    features = _whole(numbers, origin[1] * pixels, 1)
    return None if features is None else Arrangement(is_flattened=True, features=features)


def _of_features(value: Value, numbers: Tensor, origin: Shape) -> Arrangement | None:
    is_raised = value.is_map and value.shape[2:] == (1, 1)
    if is_unknown(value.origin[1]) or not (is_raised or len(value.shape) == 2):
        return Arrangement(is_raised=is_raised) if _in_order(numbers) and len(value.shape) == 2 else None
    channels = _whole(numbers, origin[1], 1)
    return None if channels is None else Arrangement(channels=_unless_all(channels, origin[1]), is_raised=is_raised)


def _in_order(numbers: Tensor) -> bool:
    return bool((numbers.flatten() == torch.arange(numbers.numel())).all())


def _whole(numbers: Tensor, count: int, pixels: int) -> tuple[int, ...] | None:
    """The channels, of `count`, of `pixels` each, that lie one behind another in each image; None if they are not."""
    images = numbers.shape[0]
    found = numbers.reshape(images, -1, pixels)
    channels = found[0, :, 0] // pixels
    expected = (torch.arange(images)[:, None] * count + channels)[..., None] * pixels + torch.arange(pixels)
    return tuple(channels.tolist()) if torch.equal(found, expected) else None


def _unless_all(channels: tuple[int, ...], count: int) -> tuple[int, ...] | None:
    return None if channels == tuple(range(count)) else channels
