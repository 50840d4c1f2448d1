"""Functions and methods of tensors by name: how a blueprint has each. A row is one function with torch's arguments."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import nn
from torchvision.ops import StochasticDepth

from search_spaces.existing.reading.forms import (
    Form,
    NotOffered,
    adaptive_average,
    average_pool,
    elu,
    hard_tanh,
    max_pool,
)
from search_spaces.existing.reading.values import Value, is_unknown, moved


class Writer(Protocol):
    """What functions need of the one who writes the blueprint."""

    def apply(self, form: Form, *read: Value) -> Value:
        """The output of one more operation."""


Row = Callable[..., Any]


@dataclass(frozen=True)
class Ended:
    """Probabilities or their logarithms, which nothing may read: the network ends with the logits."""

    logits: Value


@dataclass(frozen=True)
class Halfway:
    """A map's mean along one of its two axes of pixels, of which the mean along the other one is taken."""

    map: Value
    axis: int
    keepdim: bool

    @property
    def shape(self) -> tuple[int, ...]:
        kept = (1,) if self.keepdim else ()
        return (*self.map.shape[: self.axis], *kept, *self.map.shape[self.axis + 1 :])

    def completed(self, axes: set[int], keepdim: bool) -> tuple[Value, set[int], bool]:
        """The map, and over what its mean is taken in all."""
        other = 5 - self.axis if self.keepdim else 2
        if axes != {other} or keepdim != self.keepdim:
            raise NotOffered("a mean along one axis of a map, supported: over all pixels, [2, 3]")
        return self.map, {2, 3}, keepdim


def _activation(op: str) -> Row:
    return lambda writer, x, inplace=False: writer.apply(Form(op, is_in_place=inplace), x)


def _gelu(writer: Writer, x: Value, approximate: str = "none") -> Value:
    return writer.apply(Form("gelu", {"approximate": approximate}), x)


def _elu(writer: Writer, x: Value, alpha: float = 1.0, scale: float = 1.0, inplace: bool = False) -> Value:
    return writer.apply(elu(alpha, scale, inplace=inplace), x)


def _leaky_relu(writer: Writer, x: Value, negative_slope: float = 0.01, inplace: bool = False) -> Value:
    return writer.apply(Form("leaky_relu", {"negative_slope": float(negative_slope)}, inplace), x)


def _hardtanh(writer: Writer, x: Value, min_val: float = -1, max_val: float = 1, inplace: bool = False) -> Value:
    return writer.apply(hard_tanh(min_val, max_val, inplace=inplace), x)


def _clamp(writer: Writer, x: Value, min: Any = None, max: Any = None) -> Value:  # noqa: A002
    return writer.apply(hard_tanh(min, max), x)


def _dropout(writer: Writer, x: Value, p: float = 0.5, training: bool = True, inplace: bool = False) -> Value:
    if training:
        raise NotOffered("drops while it is evaluated, supported: training=self.training")
    return writer.apply(Form("dropout", {"p": float(p)}, inplace), x)


def _max_pool2d(writer: Writer, x: Value, *args: Any, **kwargs: Any) -> Value:
    return writer.apply(max_pool(*args, **kwargs), x)


def _avg_pool2d(writer: Writer, x: Value, *args: Any, **kwargs: Any) -> Value:
    return writer.apply(average_pool(*args, **kwargs), x)


def _adaptive_avg_pool2d(writer: Writer, x: Value, output_size: Any) -> Value:
    return writer.apply(adaptive_average(output_size), x)


def _mean(writer: Writer, x: Any, dim: Any = None, keepdim: bool = False, axis: Any = None) -> Any:
    """Over all pixels of a map, at once or one axis after the other."""
    over = dim if dim is not None else axis
    given = [each for each in (over if isinstance(over, Sequence) else (over,)) if each is not None]
    axes = {each % len(x.shape) for each in given}
    if isinstance(x, Halfway):
        x, axes, keepdim = x.completed(axes, keepdim)
    elif x.is_map and axes in ({2}, {3}):
        return Halfway(x, axes.pop(), keepdim)
    pixels = moved(x, torch.flatten, 2) if x.is_map and axes == {2, 3} else x
    if len(pixels.shape) == 3 and axes in ({2}, {2, 3}):
        restored = moved(pixels, torch.reshape, (*pixels.shape[:2], *x.origin[2:])) if len(x.origin) == 4 else pixels
        pooled = writer.apply(adaptive_average(1), restored)
        return pooled if keepdim and x.is_map else moved(pooled, torch.flatten, 2 if keepdim else 1)
    raise NotOffered(f"a mean over axes {over}, supported: over all pixels of a map, [2, 3]")


def _add(writer: Writer, x: Any, other: Any, alpha: float = 1) -> Value:
    return _joined(writer, "add", x, other, alpha)


def _multiply(writer: Writer, x: Any, other: Any) -> Value:
    return _joined(writer, "multiply", x, other)


def _in_place(row: Row) -> Row:
    """The function, the outcome of which is what its first argument is from then on."""

    def run(writer: Writer, x: Any, *args: Any, **kwargs: Any) -> Any:
        result = row(writer, x, *args, **kwargs)
        if isinstance(x, Value):
            x.become(result.node, result.origin)
        return x

    return run


def _joined(writer: Writer, op: str, x: Any, other: Any, alpha: float = 1) -> Value:
    """Two tensors of one shape, of which that of a product may have one pixel."""
    if not (isinstance(x, Value) and isinstance(other, Value)) or alpha != 1:
        what = other if isinstance(x, Value) else x
        raise NotOffered(
            f"with {'alpha' if alpha != 1 else 'a constant'} {what if alpha == 1 else alpha}, "
            "supported: two tensors that the network computes"
        )
    first, second = (other, x) if x.is_map and x.shape[2:] == (1, 1) else (x, other)
    is_scale = op == "multiply" and first.is_map and second.is_map and second.shape[2:] == (1, 1)
    if (
        first.shape[:2] != second.shape[:2]
        or len(first.shape) != len(second.shape)
        or not (is_scale or _may_be_equal(first.shape[2:], second.shape[2:]))
    ):
        raise NotOffered(
            f"of {_said(x)} and {_said(other)}, supported: tensors of one shape"
            + (", or one pixel per channel" if op == "multiply" else "")
        )
    return writer.apply(Form(op), first, second)


def _may_be_equal(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether maps may be of one size, as far as that is known."""
    return all(a == b or (is_unknown(a) != is_unknown(b) and 1 not in (a, b)) for a, b in zip(one, other, strict=True))


def _said(value: Value) -> str:
    """A shape for a reader."""
    return f"({', '.join('?' if is_unknown(size) else str(size) for size in value.shape)})"


def _cat(writer: Writer, tensors: Any, dim: int = 0, axis: int | None = None) -> Value:
    dim = dim if axis is None else axis
    values = list(tensors)
    if not values or not all(isinstance(each, Value) for each in values):
        raise NotOffered("with a constant, supported: tensors that the network computes")
    if dim % len(values[0].shape) != 1:
        raise NotOffered(f"along axis {dim}, supported: along the channels, 1")
    return values[0] if len(values) == 1 else writer.apply(Form("concatenate"), *values)


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
        raise NotOffered(f"expands {_said(x)}, supported: one pixel per channel to a map")
    return x


def _expand_as(writer: Writer, x: Value, other: Value) -> Value:
    return _expand(writer, x, *other.shape)


def _softmax(writer: Writer, x: Value, dim: int | None = None, dtype: Any = None, **_: Any) -> Ended:
    if len(x.shape) != 2 or dim not in (1, -1, None):
        raise NotOffered("not of logits, supported: at the network's end, over the classes")
    return Ended(x)


def _movement(function: Row) -> Row:
    return lambda writer, x, *args, **kwargs: moved(x, function, *args, **kwargs)


def _method(name: str) -> Row:
    """A movement that is a method of tensors alone, or differs from the function of its name."""
    return _movement(lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs))


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


_ACTIVATIONS = ("relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "silu", "tanh")
_MOVEMENTS = (
    "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "flatten", "unflatten", "squeeze",
    "unsqueeze", "chunk", "split", "tensor_split", "unbind", "narrow", "flip", "roll",
)  # fmt: skip
_NOTHING = ("contiguous", "detach", "float", "stochastic_depth", "to", "cpu")

FUNCTIONS: dict[str, Row] = {
    **{name: _activation(name) for name in _ACTIVATIONS},
    "gelu": _gelu,
    "elu": _elu,
    "leaky_relu": _leaky_relu,
    "hardtanh": _hardtanh,
    "clamp": _clamp,
    "clip": _clamp,
    "dropout": _dropout,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "mean": _mean,
    "add": _add,
    "mul": _multiply,
    "multiply": _multiply,
    "cat": _cat,
    "concat": _cat,
    "concatenate": _cat,
    "softmax": _softmax,
    "log_softmax": _softmax,
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
FUNCTIONS |= {f"{name}_": _in_place(FUNCTIONS[name]) for name in (*_ACTIVATIONS, "clamp", "add", "mul", "hardtanh")}
FUNCTIONS |= {"iadd": FUNCTIONS["add_"], "imul": FUNCTIONS["mul_"]}

# Layers of torch that are one of the functions.
LAYERS: dict[type[nn.Module], Callable[[Any], tuple[str, tuple[Any, ...]]]] = {
    nn.Flatten: lambda m: ("flatten", (m.start_dim, m.end_dim)),
    nn.Unflatten: lambda m: ("unflatten", (m.dim, m.unflattened_size)),
    nn.ChannelShuffle: lambda m: ("channel_shuffle", (m.groups,)),
    nn.Identity: lambda m: ("contiguous", ()),
    StochasticDepth: lambda m: ("stochastic_depth", ()),
    **{
        kind: lambda m: ("stochastic_depth", ()) for kind in (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
    },
    nn.Softmax: lambda m: ("softmax", (m.dim,)),
    nn.LogSoftmax: lambda m: ("log_softmax", (m.dim,)),
}
