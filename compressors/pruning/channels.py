"""Structured pruning: the least important channels of a group are removed from every member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compressors.pruning.importances import Group, Importance


def prune(module: nn.Module, groups: Sequence[Group], kept: Mapping[str, int], *, importance: Importance) -> None:
    """Cut every group named in `kept` down to its count, in place; the most important channels stay, in order."""
    by_name = {group.name: group for group in groups}
    for name, count in kept.items():
        group = by_name.get(name)
        if group is None:
            raise ValueError(f"no channel group {name!r}, expected one of {sorted(by_name)}")
        if not 1 <= count <= group.width:
            raise ValueError(f"group {name}: expected 1..{group.width} channels kept, got {count}")
        keep = torch.topk(importance(module, group), count).indices.sort().values
        for path, axis in group.members:
            _slice(module.get_submodule(path), axis, keep)


def _slice(module: nn.Module, axis: int, keep: Tensor) -> None:
    """Keep the given channels of one module along a weight axis (0: outputs, 1: inputs)."""
    if isinstance(module, nn.BatchNorm2d):
        _select(module, ("weight", "bias", "running_mean", "running_var"), 0, keep)
        module.num_features = len(keep)
    elif isinstance(module, nn.Conv2d):
        if module.groups > 1 and module.weight.shape[1] > 1:
            raise TypeError(f"cannot cut channels of a convolution in {module.groups} groups, unless it is depthwise")
        _select(module, ("weight", "bias") if axis == 0 else ("weight",), axis, keep)
        if axis == 0:
            module.out_channels = len(keep)
            if module.groups > 1:
                module.groups = module.in_channels = len(keep)
        else:
            module.in_channels = len(keep)
    elif isinstance(module, nn.Linear):
        _select(module, ("weight", "bias") if axis == 0 else ("weight",), axis, keep)
        module.out_features, module.in_features = module.weight.shape
    else:
        raise TypeError(f"cannot cut channels of {type(module).__name__}")


def _select(module: nn.Module, names: Sequence[str], axis: int, keep: Tensor) -> None:
    for name in names:
        tensor = getattr(module, name)
        if tensor is None:
            continue
        cut = tensor.detach().index_select(axis, keep.to(tensor.device)).clone()
        setattr(module, name, nn.Parameter(cut) if isinstance(tensor, nn.Parameter) else cut)
