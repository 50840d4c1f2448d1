"""What a layer must be for this package to change it: each attribute is checked, and what is not supported is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

_HOOKS = {
    "_forward_pre_hooks": "forward pre-hooks",
    "_forward_hooks": "forward hooks",
    "_backward_pre_hooks": "backward pre-hooks",
    "_backward_hooks": "backward hooks",
}
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_NO_FLOATS = ("num_batches_tracked", "mask")  # buffers of counts and of marks


class Unsupported(TypeError, ValueError):
    """A layer, or an attribute of it, that cannot be compressed. The message names both, and what is supported."""


def refuse(path: str, module: nn.Module, attribute: str, value: Any, supported: str) -> Unsupported:
    """The error for one attribute of one layer."""
    return Unsupported(
        f"{path or 'the network'} ({type(module).__name__}): {attribute} {value}, supported: {supported}"
    )


def check_own_type(path: str, module: nn.Module, kinds: Sequence[type[nn.Module]], verb: str) -> None:
    """Refuse what is none of `kinds` exactly: a subclass may compute something else."""
    if parametrize.is_parametrized(module):
        names = ", ".join(module.parametrizations)  # type: ignore[arg-type]
        raise refuse(path, module, "parametrizations of", names, "none (remove_parametrizations first)")
    if type(module) not in kinds:
        expected = ", ".join(kind.__name__ for kind in kinds)
        raise Unsupported(f"cannot {verb} {type(module).__name__} ({path}), supported: {expected}")


def check_no_hooks(path: str, module: nn.Module) -> None:
    """Refuse hooks: they would be lost, or run at another place. Old-style weight norms and masks are hooks as well."""
    for attribute, words in _HOOKS.items():
        hooks = getattr(module, attribute, None)
        if hooks:
            names = ", ".join(type(hook).__name__ for hook in hooks.values())
            raise refuse(path, module, words, names, "none")
    check_own_forward(path, module)


def check_own_forward(path: str, module: nn.Module) -> None:
    """Refuse a forward that was replaced on the instance."""
    if "forward" in vars(module):
        raise refuse(path, module, "forward", "replaced on the instance", "the class's own")


def check_floats(path: str, module: nn.Module, dtypes: Sequence[torch.dtype]) -> None:
    """Refuse weights of other types than `dtypes`, and weights that are not all of one type."""
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    found = {name: tensor.dtype for name, tensor in own if name not in _NO_FLOATS}
    names = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
    for name, dtype in found.items():
        if dtype not in dtypes:
            raise refuse(path, module, f"dtype of {name}", str(dtype).removeprefix("torch."), names)
    if len(set(found.values())) > 1:
        raise refuse(path, module, "dtypes", sorted(map(str, set(found.values()))), "one for the whole layer")


def check_sizes(path: str, module: nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    """Refuse a layer whose stated sizes are not those of its weight, or no pairs: somebody changed it by hand."""
    for name in ("kernel_size", "stride", "padding", "dilation") if isinstance(module, nn.Conv2d) else ():
        if not isinstance(value := getattr(module, name), tuple | str):
            raise refuse(path, module, name, repr(value), "a pair, as Conv2d makes it")
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        expected: tuple[int, ...] = (module.num_features,)
        tensors = (module.weight, module.running_mean)
        found = next((tuple(tensor.shape) for tensor in tensors if tensor is not None), expected)
    elif isinstance(module, nn.Linear):
        expected, found = (module.out_features, module.in_features), tuple(module.weight.shape)
    else:
        expected = (module.out_channels, module.in_channels // module.groups, *module.kernel_size)
        found = tuple(module.weight.shape)
    if expected != found:
        raise refuse(path, module, "weight of shape", found, f"{expected}, as the layer's sizes say")


def memory_format_of(weight: Tensor) -> torch.memory_format:
    """How a weight lies in memory: what takes its place lies there likewise, or every step would copy."""
    is_last = weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format
