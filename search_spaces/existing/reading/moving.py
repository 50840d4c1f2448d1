"""Functions that move elements or ask for shapes, and those that do nothing to what is computed."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from search_spaces.existing.reading.forms import NotOffered
from search_spaces.existing.reading.rows import Row, Writer
from search_spaces.existing.reading.values import Value, is_unknown, moved, said


def _method(name: str) -> Row:
    """A movement that is a method of tensors."""
    return lambda writer, x, *args, **kwargs: moved(x, lambda t, *a, **k: getattr(t, name)(*a, **k), *args, **kwargs)


def _view(writer: Writer, x: Value, *shape: Any) -> Any:
    """Also (-1, features) of a map whose size is not known: its flattening, of as many features."""
    wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    if x.is_map and len(wanted) == 2 and wanted[0] in (-1, x.shape[0]) and not is_unknown(wanted[1]) and wanted[1] > 0:
        flat = moved(x, torch.flatten, 1)
        if is_unknown(flat.shape[1]):
            flat.shape = (flat.shape[0], wanted[1])
            return flat
    return moved(x, torch.reshape, wanted)


def _expand(writer: Writer, x: Value, *sizes: Any) -> Value:
    """One pixel per channel, made as large as a map, is left as it is: it is only ever multiplied by."""
    wanted = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], Sequence) else sizes
    if (
        not x.is_map
        or len(wanted) != 4
        or x.shape[2:] != (1, 1)
        or any(size not in (-1, own) for size, own in zip(wanted[:2], x.shape[:2], strict=True))
    ):
        raise NotOffered(f"expands {said(x.shape)}, supported: one pixel per channel to a map")
    return x


def _expand_as(writer: Writer, x: Value, other: Value) -> Value:
    return _expand(writer, x, *other.shape)


def _getitem(writer: Writer, x: Value, index: Any) -> Any:
    return moved(x, operator.getitem, index)


def _getattr(writer: Writer, x: Value, name: str) -> Any:
    known = {"shape": torch.Size(x.shape), "ndim": len(x.shape), "dtype": torch.float32, "device": torch.device("cpu")}
    if name not in known:
        raise NotOffered(f"reads {name} of a tensor, supported: {', '.join(known)}")
    return known[name]


def _size(writer: Writer, x: Value, dim: int | None = None) -> Any:
    return torch.Size(x.shape) if dim is None else x.shape[dim]


def _same(writer: Writer, x: Value, *args: Any, **kwargs: Any) -> Value:
    return x


def _channel_shuffle(writer: Writer, x: Value, groups: int) -> Any:
    return moved(x, lambda t: t.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2))


_MOVEMENTS = (
    "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "flatten", "unflatten", "squeeze",
    "unsqueeze", "chunk", "split", "tensor_split", "unbind", "narrow", "flip", "roll",
)  # fmt: skip
_NOTHING = ("contiguous", "detach", "float", "stochastic_depth", "to", "cpu")
MOVING: dict[str, Row] = {
    **{name: _method(name) for name in _MOVEMENTS},
    "view": _view,
    "reshape": _view,
    "expand": _expand,
    "expand_as": _expand_as,
    "channel_shuffle": _channel_shuffle,
    "getitem": _getitem,
    "getattr": _getattr,
    "size": _size,
    "dim": lambda writer, x: len(x.shape),
    "clone": lambda writer, x, **_: replace(x),
    **dict.fromkeys(_NOTHING, _same),
}
