"""What a movement of elements comes to: whole channels in some order, flattening, features in some order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from search_spaces.existing.reading.values import Shape, Value, is_unknown, small


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
