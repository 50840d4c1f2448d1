"""Structured pruning: channels of a group are ranked by importance and physically removed from every member."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

Importance = Callable[[nn.Module, "Group"], Tensor]


class Group(Protocol):
    """Channels that are cut together; `members` are (module path, weight axis), the producer first."""

    @property
    def name(self) -> str: ...

    @property
    def width(self) -> int: ...

    @property
    def members(self) -> tuple[tuple[str, int], ...]: ...


def weight_norm(p: Literal[1, 2]) -> Importance:
    """Norm over all convolution weights that go with a channel (Li et al. 2017, arXiv:1608.08710; group-wise).

    Each member's scores are divided by their mean first, so that no member drowns the others.
    """

    def importance(module: nn.Module, group: Group) -> Tensor:
        total = torch.zeros(group.width)
        for path, axis in group.members:
            member = module.get_submodule(path)
            if isinstance(member, nn.Conv2d | nn.Linear):
                norms = member.weight.detach().transpose(0, axis).flatten(1).norm(p=p, dim=1).cpu()
                total += norms / norms.mean().clamp_min(1e-12)
        return total

    return importance


def batch_norm_scale(module: nn.Module, group: Group) -> Tensor:
    """Sum of |gamma| over the group's batch norms (network slimming, Liu et al. 2017, arXiv:1708.06519)."""
    norms = [m for path, _ in group.members if isinstance(m := module.get_submodule(path), nn.BatchNorm2d)]
    if not norms:
        raise ValueError(f"group {group.name}: bn_scale needs a batch norm among its members")
    return torch.stack([norm.weight.detach().abs().cpu() for norm in norms]).sum(0)


IMPORTANCES: Mapping[str, Importance] = {
    "l1": weight_norm(1),
    "l2": weight_norm(2),
    "bn_scale": batch_norm_scale,
}


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
