"""Importance by weights alone: one score per channel of a group; the lowest are removed first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from compressors.pruning.cutting import NORMS
from compressors.pruning.places import Group, Place, weighed
from compressors.support import refuse

Importance = Callable[[nn.Module, Group], Tensor]


def weight_norm(p: Literal[1, 2]) -> Importance:
    """Norm over all convolution weights that go with a channel (Li et al. 2017, arXiv:1608.08710; group-wise).

    Each member's scores are divided by their mean first, so that no member dominates.
    """

    def importance(module: nn.Module, group: Group) -> Tensor:
        return summed_norms(weights_of(module, group), group.width, p)

    return importance


def moment_norm(momenta: Mapping[str, Tensor]) -> Importance:
    """L1 norm over the optimizer's first moments of all convolution weights that go with a channel.

    Large moments mark what training still moves (Dettmers and Zettlemoyer 2019, arXiv:1907.04840). Members are weighed
    as in `weight_norm`; a layer that was not trained yet, as a factor just made, counts by its weight. `momenta` are
    by name of the parameter. Raises ValueError where there are none at all.
    """

    def importance(module: nn.Module, group: Group) -> Tensor:
        if not momenta:
            raise ValueError(f"group {group.name}: importance momentum needs the optimizer's moments, got none")
        members = weights_of(module, group)
        found = ((place, _moments(momenta, place.path, weight)) for place, weight in members)
        return summed_norms(found, group.width, 1)

    return importance


def _moments(momenta: Mapping[str, Tensor], path: str, weight: Tensor) -> Tensor:
    """Those of a layer's weight; the weight itself where they are of another one, or there are none."""
    found = momenta.get(f"{path}.weight")
    return weight if found is None or found.shape != weight.shape else found


def batch_norm_scale(module: nn.Module, group: Group) -> Tensor:
    """Mean of |gamma| over the group's batch norms (network slimming, Liu et al. 2017, arXiv:1708.06519)."""
    found = [(place, layer) for place, layer in weighed(module, group) if isinstance(layer, NORMS)]
    if not found:
        raise ValueError(f"group {group.name}: bn_scale needs a batch norm among its members")
    for place, norm in found:
        if not norm.affine:
            raise refuse(place.path, norm, "affine", norm.affine, "True, since bn_scale ranks by its scales")
    scales = [place.summed(norm.weight.detach().abs().cpu()) / place.repeats for place, norm in found]
    return torch.stack(scales).mean(0)


def geometric_median(module: nn.Module, group: Group) -> Tensor:
    """Sum of a filter's distances to the others of its group (FPGM, He et al. 2019, arXiv:1811.00250).

    The filter nearest to the geometric median can be replaced by the others best. A channel's filter is that of every
    layer that makes it, side by side, each layer's divided by its mean norm.
    """
    made = [by_channel(place, weight) for place, weight in weights_of(module, group) if place.axis == 0]
    if not made:
        raise ValueError(f"group {group.name}: geometric_median needs a layer that makes its channels")
    filters = torch.cat([own / own.norm(dim=1).mean().clamp_min(1e-12) for own in made], 1)
    return torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist").sum(1)


def weights_of(module: nn.Module, group: Group) -> Iterator[tuple[Place, Tensor]]:
    """The group's places in convolutions and linear layers, and weights. Raises ValueError for other widths."""
    for place, layer in weighed(module, group):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            size, expected = layer.weight.shape[place.axis], group.width * group.unit
            if place.span is None and size != expected:
                raise ValueError(f"group {group.name}: {place.path} has {size} channels, expected {expected}")
            yield place, layer.weight


def rows(weight: Tensor, axis: int) -> Tensor:
    """A weight as (channels along the axis, all else), on the CPU."""
    return weight.detach().transpose(0, axis).flatten(1).cpu()


def by_channel(place: Place, weight: Tensor) -> Tensor:
    """A weight as (channels of the group, all that goes with each), on the CPU."""
    found = rows(weight, place.axis)
    return found if place.is_plain else place.gathered(found).flatten(1)


def summed_norms(members: Iterable[tuple[Place, Tensor]], width: int, p: Literal[1, 2]) -> Tensor:
    """Sum over members of the norms (width,) of what goes with each channel, each divided by the mean of its member."""
    total = torch.zeros(width)
    for place, weight in members:
        norms = rows(weight, place.axis).norm(p=p, dim=1)
        if not place.is_plain:
            norms = place.gathered(norms).norm(p=p, dim=1)
        total += norms / norms.mean().clamp_min(1e-12)
    return total
