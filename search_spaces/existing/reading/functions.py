"""The table of functions and methods of tensors by name, and of layers that are one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from search_spaces.existing.reading.computing import COMPUTING
from search_spaces.existing.reading.joining import JOINING
from search_spaces.existing.reading.moving import MOVING
from search_spaces.existing.reading.rows import Row, Writer
from search_spaces.existing.reading.values import Value


def _in_place(row: Row) -> Row:
    """The function, the outcome of which is what its first argument is from then on."""

    def run(writer: Writer, x: Any, *args: Any, **kwargs: Any) -> Any:
        result = row(writer, x, *args, **kwargs)
        if not (isinstance(x, Value) and isinstance(result, Value)):
            return result
        x.become(result.node, result.origin)
        return x

    return run


_WITH_ONE_IN_PLACE = (
    "relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "silu", "tanh", "elu", "leaky_relu", "hardtanh", "clamp",
    "add", "sub", "mul", "div",
)  # fmt: skip
FUNCTIONS: dict[str, Row] = {**COMPUTING, **JOINING, **MOVING}
FUNCTIONS |= {f"{name}_": _in_place(FUNCTIONS[name]) for name in _WITH_ONE_IN_PLACE}
FUNCTIONS |= {f"i{name}": FUNCTIONS[f"{name}_"] for name in ("add", "sub", "mul")}
FUNCTIONS |= {"itruediv": FUNCTIONS["div_"]}
_FIRST_NAMES = {row: name for name, row in reversed([*COMPUTING.items(), *JOINING.items()])}
OFFERED = f"{', '.join(sorted(_FIRST_NAMES.values()))}, and movements of whole channels"
# Those that know what to do with a tensor that is scaled or shifted, or whose mean is half taken.
_SCALING = ("add", "sub", "mul", "multiply", "div", "truediv")
TAKE_SCALED = (*_SCALING, *(f"i{name}" for name in _SCALING), "relu6", "hardtanh", "clamp", "clip")
TAKE_HALF_A_MEAN = ("mean",)

# Layers of torch that are one of the functions.
LAYERS: dict[type[nn.Module], Callable[[Any], tuple[str, tuple[Any, ...]]]] = {
    nn.Flatten: lambda m: ("flatten", (m.start_dim, m.end_dim)),
    nn.Unflatten: lambda m: ("unflatten", (m.dim, m.unflattened_size)),
    nn.ChannelShuffle: lambda m: ("channel_shuffle", (m.groups,)),
    nn.ReLU6: lambda m: ("relu6", (m.inplace,)),
    nn.Hardtanh: lambda m: ("hardtanh", (m.min_val, m.max_val, m.inplace)),
    nn.Identity: lambda m: ("contiguous", ()),
    nn.Softmax: lambda m: ("softmax", (m.dim,)),
    nn.LogSoftmax: lambda m: ("log_softmax", (m.dim,)),
}
# What does something in training alone, and is left out: names of classes.
LEFT_OUT = ("StochasticDepth", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
