"""Functions that compute: activations, pooling, means, and what ends a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from search_spaces.existing.reading.forms import (
    Form,
    NotOffered,
    adaptive_average,
    average_pool,
    elu,
    hard_tanh,
    max_pool,
)
from search_spaces.existing.reading.pending import Ended, Halfway, Scaled
from search_spaces.existing.reading.rows import Row, Writer
from search_spaces.existing.reading.values import Value, moved


def _activation(op: str) -> Row:
    return lambda writer, x, inplace=False: writer.apply(Form(op, is_in_place=inplace), x)


def _gelu(writer: Writer, x: Value, approximate: str = "none") -> Value:
    return writer.apply(Form("gelu", {"approximate": approximate}), x)


def _elu(writer: Writer, x: Value, alpha: float = 1.0, scale: float = 1.0, inplace: bool = False) -> Value:
    return writer.apply(elu(alpha, scale, inplace=inplace), x)


def _leaky_relu(writer: Writer, x: Value, negative_slope: float = 0.01, inplace: bool = False) -> Value:
    return writer.apply(Form("leaky_relu", {"negative_slope": float(negative_slope)}, inplace), x)


def _hardtanh(writer: Writer, x: Any, min_val: float = -1, max_val: float = 1, inplace: bool = False) -> Any:
    if isinstance(x, Scaled):
        return _hard_sigmoid(writer, x, min_val, max_val)
    return writer.apply(hard_tanh(min_val, max_val, inplace=inplace), x)


def _relu6(writer: Writer, x: Any, inplace: bool = False) -> Any:
    return _hardtanh(writer, x, 0, 6, inplace)


def _clamp(writer: Writer, x: Any, min: Any = None, max: Any = None) -> Any:  # noqa: A002
    return _hardtanh(writer, x, min, max)


def _hard_sigmoid(writer: Writer, x: Scaled, low: float, high: float) -> Any:
    """relu6(x + 3), or x / 6 + 1 / 2 clipped to 0 and 1."""
    if low != 0 or high not in (1, 6) or not x.is_(high / 6, high / 2):
        raise NotOffered(f"of x * {x.scale:.4g} + {x.shift:.4g}, supported: hard sigmoids, such as relu6(x + 3) / 6")
    return Scaled(writer.apply(Form("hardsigmoid"), x.value)).times(high)


def _dropout(writer: Writer, x: Value, p: float = 0.5, training: bool = True, inplace: bool = False) -> Value:
    return writer.apply(Form("dropout", {"p": float(p)}, inplace), _evaluated(x, training))


def _dropout_of_maps(writer: Writer, x: Value, p: float = 0.5, training: bool = True, inplace: bool = False) -> Value:
    """Left out, as the layers of its kind are."""
    return _evaluated(x, training)


def _evaluated(x: Value, training: bool) -> Value:
    if training:
        raise NotOffered("drops while it is evaluated, supported: training=self.training")
    return x


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


def _softmax(writer: Writer, x: Value, dim: int | None = None, dtype: Any = None, **_: Any) -> Ended:
    if len(x.shape) != 2 or dim not in (1, -1, None):
        raise NotOffered("not of logits, supported: at the network's end, over the classes")
    return Ended(x)


_SIMPLE = ("relu", "hardswish", "hardsigmoid", "sigmoid", "silu", "tanh")
COMPUTING: dict[str, Row] = {
    **{name: _activation(name) for name in _SIMPLE},
    "relu6": _relu6,
    "gelu": _gelu,
    "elu": _elu,
    "leaky_relu": _leaky_relu,
    "hardtanh": _hardtanh,
    "clamp": _clamp,
    "clip": _clamp,
    "dropout": _dropout,
    **dict.fromkeys(
        ("dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"), _dropout_of_maps
    ),
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "mean": _mean,
    "softmax": _softmax,
    "log_softmax": _softmax,
}
