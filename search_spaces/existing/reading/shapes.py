"""Shapes behind the operations while a network is read, as far as they are known without the size of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search_spaces.existing.reading.forms import Form, NotOffered
from search_spaces.existing.reading.values import Shape, is_unknown

_MAPS_ALONE = ("conv", "norm", "max_pool", "average_pool", "adaptive_average")
_CHANNELS = {"conv": ("in_channels", "out_channels"), "norm": ("num_features",) * 2, "norm1d": ("num_features",) * 2}


def shape_behind(form: Form, shapes: Sequence[Shape]) -> Shape:
    """The shape of an operation's output. Raises NotOffered where it cannot read such tensors."""
    shape, fields = shapes[0], form.fields
    if len(shape) not in (2, 4) or (form.op in _MAPS_ALONE and len(shape) != 4):
        raise NotOffered(f"reads a tensor of {len(shape)} axes, supported: maps (N, C, H, W), and (N, C) where linear")
    if form.op == "norm1d" and len(shape) != 2:
        raise NotOffered(f"reads a tensor of {len(shape)} axes, supported: features (N, C)")
    if form.op == "linear":
        return _behind_linear(shape, fields)
    if form.op == "concatenate":
        return (shape[0], sum(each[1] for each in shapes), *shape[2:])
    if form.op in _CHANNELS:
        expected, channels = (fields[name] for name in _CHANNELS[form.op])
        if not is_unknown(shape[1]) and shape[1] != expected:
            raise NotOffered(f"reads {shape[1]} channels, expected {expected}")
        shape = (shape[0], int(channels), *shape[2:])  # type: ignore[arg-type]
    if form.op == "adaptive_average":
        size: Any = fields["output_size"]
        return (*shape[:2], *size)
    return (*shape[:2], *_sides(fields, shape[2:])) if "kernel_size" in fields else shape


def _behind_linear(shape: Shape, fields: Any) -> Shape:
    if len(shape) != 2:
        raise NotOffered("reads maps, supported: behind flattening")
    if not is_unknown(shape[1]) and shape[1] != fields["in_features"]:
        raise NotOffered(f"reads {shape[1]} features, expected {fields['in_features']}")
    return shape[0], fields["out_features"]


def _sides(fields: Any, sides: Shape) -> Shape:
    """Height and width behind a window; those that are not known stay so."""
    around = zip(sides, *(fields[name] for name in ("kernel_size", "stride", "padding")), strict=True)
    dilations = fields.get("dilation", [1, 1])
    found = []
    for (side, kernel, stride, padding), dilation in zip(around, dilations, strict=True):
        if is_unknown(side):
            found.append(side)
            continue
        steps = side + 2 * padding - dilation * (kernel - 1) - 1
        count = -(-steps // stride) if fields.get("ceil_mode") else steps // stride
        # The last window must begin on the map or on the padding before it.
        count -= bool(fields.get("ceil_mode")) and count * stride >= side + padding
        found.append(count + 1)
    return tuple(found)
