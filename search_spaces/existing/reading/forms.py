"""Operations as a blueprint has them, made of torch's layers and of the arguments of torch's functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue
from torch import nn

from search_spaces.existing.reading.values import UNKNOWN

Fields = Mapping[str, JsonValue]


class NotOffered(Exception):
    """What an operation does is not among those of a blueprint; says what it is, and what is supported."""


@dataclass(frozen=True)
class Form:
    """A row of OPS and its fields. `is_in_place`: it overwrites what it reads."""

    op: str
    fields: Fields = field(default_factory=dict)
    is_in_place: bool = False


MOST_PIXELS = 256  # no window is larger, nor an image; what is, was computed from what stands for an image's size


def pair(value: Any, what: str) -> list[JsonValue]:
    """Height and width."""
    both = _sides(value)
    if len(both) != 2 or not all(isinstance(each, int) for each in both):
        raise NotOffered(f"{what} {value}, supported: one or two whole numbers")
    if max(both) > MOST_PIXELS:
        raise NotOffered(f"{what} depends on the size of images, supported: numbers, and the mean over a whole map")
    return [*both]


def _sides(value: Any) -> list[Any]:
    both = list(value) if isinstance(value, Iterable) else [value]
    return both * 2 if len(both) == 1 else both


def convolution(layer: nn.Conv2d) -> Form:
    if layer.padding_mode != "zeros":
        raise NotOffered(f"padding_mode {layer.padding_mode}, supported: zeros")
    return Form(
        "conv",
        {
            "in_channels": layer.in_channels,
            "out_channels": layer.out_channels,
            "kernel_size": pair(layer.kernel_size, "kernel_size"),
            "stride": pair(layer.stride, "stride"),
            "padding": _padding(layer),
            "dilation": pair(layer.dilation, "dilation"),
            "groups": layer.groups,
            "bias": layer.bias is not None,
        },
    )


def _padding(layer: nn.Conv2d) -> list[JsonValue]:
    if layer.padding == "valid":
        return [0, 0]
    if layer.padding != "same":
        return pair(layer.padding, "padding")
    around = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    if any(total % 2 for total in around):
        raise NotOffered(f"padding same with a kernel of {layer.kernel_size}, supported: odd kernels, or numbers")
    return [total // 2 for total in around]


def linear(layer: nn.Linear) -> Form:
    sizes = {"in_features": layer.in_features, "out_features": layer.out_features}
    return Form("linear", {**sizes, "bias": layer.bias is not None})


def batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d) -> Form:
    if not layer.affine or not layer.track_running_stats:
        raise NotOffered("no weights or no running statistics, supported: affine=True and track_running_stats=True")
    op = "norm1d" if isinstance(layer, nn.BatchNorm1d) else "norm"
    return Form(op, {"num_features": layer.num_features, "eps": layer.eps, "momentum": layer.momentum})


def hard_tanh(low: float, high: float, *, inplace: bool = False) -> Form:
    """Of all clippings, those that are an activation of a blueprint."""
    if (low, high) == (0, 6):
        return Form("relu6", is_in_place=inplace)
    if low == 0 and high in (None, float("inf")):
        return Form("relu", is_in_place=inplace)
    raise NotOffered(f"clips to {low} to {high}, supported: 0 to 6, or 0 and no upper limit")


def elu(alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0, *, inplace: bool = False) -> Form:
    if (scale, input_scale) != (1, 1):
        raise NotOffered(f"scales {scale} and {input_scale}, supported: 1")
    return Form("elu", {"alpha": float(alpha)}, inplace)


def max_pool(
    kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Form:  # fmt: skip
    if return_indices:
        raise NotOffered("return_indices True, supported: False")
    window = _window(kernel_size, stride, padding)
    return Form("max_pool", {**window, "dilation": pair(dilation, "dilation"), "ceil_mode": bool(ceil_mode)})


def average_pool(
    kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Form:  # fmt: skip
    """A window as large as the map, whatever its size, is a global average."""
    if divisor_override is not None:
        raise NotOffered(f"divisor_override {divisor_override}, supported: none")
    if all(side in UNKNOWN for side in _sides(kernel_size)) and pair(padding, "padding") == [0, 0]:
        return adaptive_average(1)
    window = _window(kernel_size, stride, padding)
    return Form("average_pool", {**window, "ceil_mode": bool(ceil_mode), "count_include_pad": bool(count_include_pad)})


def adaptive_average(output_size: Any) -> Form:
    return Form("adaptive_average", {"output_size": pair(output_size, "output_size")})


def _window(kernel_size: Any, stride: Any, padding: Any) -> dict[str, JsonValue]:
    has_stride = stride is not None and stride != [] and stride != ()
    return {
        "kernel_size": pair(kernel_size, "kernel_size"),
        "stride": pair(stride if has_stride else kernel_size, "stride"),
        "padding": pair(padding, "padding"),
    }


# How a layer of torch is written; exactly these classes, since what is made of them may compute something else.
MODULES: dict[type[nn.Module], Callable[[Any], Form]] = {
    nn.Conv2d: convolution,
    nn.Linear: linear,
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
    nn.ReLU: lambda m: Form("relu", is_in_place=m.inplace),
    nn.Hardswish: lambda m: Form("hardswish", is_in_place=m.inplace),
    nn.Hardsigmoid: lambda m: Form("hardsigmoid", is_in_place=m.inplace),
    nn.Sigmoid: lambda m: Form("sigmoid"),
    nn.SiLU: lambda m: Form("silu", is_in_place=m.inplace),
    nn.Tanh: lambda m: Form("tanh"),
    nn.GELU: lambda m: Form("gelu", {"approximate": m.approximate}),
    nn.ELU: lambda m: elu(m.alpha, inplace=m.inplace),
    nn.LeakyReLU: lambda m: Form("leaky_relu", {"negative_slope": float(m.negative_slope)}, m.inplace),
    nn.MaxPool2d: lambda m: max_pool(m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode, m.return_indices),
    nn.AvgPool2d: lambda m: average_pool(
        m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad, m.divisor_override
    ),
    nn.AdaptiveAvgPool2d: lambda m: adaptive_average(m.output_size),
    nn.Dropout: lambda m: Form("dropout", {"p": float(m.p)}, m.inplace),
}
