"""What ranks the channels of a group: one score per channel; the lowest are removed first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from compressors.support import refuse

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

    Each member's scores are divided by their mean first, so that no member dominates.
    """

    def importance(module: nn.Module, group: Group) -> Tensor:
        total = torch.zeros(group.width)
        for path, axis in group.members:
            member = module.get_submodule(path)
            if isinstance(member, nn.Conv2d | nn.Linear):
                if member.weight.shape[axis] != group.width:
                    size = member.weight.shape[axis]
                    raise ValueError(f"group {group.name}: {path} has {size} channels, expected {group.width}")
                norms = member.weight.detach().transpose(0, axis).flatten(1).norm(p=p, dim=1).cpu()
                total += norms / norms.mean().clamp_min(1e-12)
        return total

    return importance


def batch_norm_scale(module: nn.Module, group: Group) -> Tensor:
    """Sum of |gamma| over the group's batch norms (network slimming, Liu et al. 2017, arXiv:1708.06519)."""
    norms = {p: m for p, _ in group.members if isinstance(m := module.get_submodule(p), nn.BatchNorm2d)}
    if not norms:
        raise ValueError(f"group {group.name}: bn_scale needs a batch norm among its members")
    for path, norm in norms.items():
        if not norm.affine:
            raise refuse(path, norm, "affine", norm.affine, "True, since bn_scale ranks by its scales")
    return torch.stack([norm.weight.detach().abs().cpu() for norm in norms.values()]).sum(0)


IMPORTANCES: Mapping[str, Importance] = {
    "l1": weight_norm(1),
    "l2": weight_norm(2),
    "bn_scale": batch_norm_scale,
}
