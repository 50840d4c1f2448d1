"""Channels by their numbers taken out of one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compressors.pruning.places import Selection

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
KINDS = (nn.Conv2d, nn.Linear, *NORMS)


def size_along(layer: nn.Module, axis: int) -> int | None:
    """How many channels a layer writes (axis 0) or reads (axis 1); None of what a selection reads: it may be more than
    it selects.
    """
    if isinstance(layer, Selection):
        return len(layer.selected()) if axis == 0 else None
    if isinstance(layer, NORMS):
        return layer.num_features
    if isinstance(layer, nn.Conv2d):
        return layer.in_channels if axis == 1 else layer.out_channels
    assert isinstance(layer, nn.Linear)
    return layer.in_features if axis == 1 else layer.out_features


def cut(layer: nn.Module, gone: Mapping[int, Tensor]) -> None:
    """Take the numbers `gone` along each axis (0: outputs, 1: inputs) out of a layer, in place."""
    if isinstance(layer, Selection):
        layer.select(reselected(layer.selected(), gone[1].tolist()))
        return
    keep = {axis: _others(size_along(layer, axis) or 0, numbers) for axis, numbers in gone.items()}
    if isinstance(layer, NORMS):
        _take(layer, ("weight", "bias", "running_mean", "running_var"), 0, keep[0])
        layer.num_features = len(keep[0])
    elif isinstance(layer, nn.Conv2d) and layer.groups > 1:
        _cut_groups(layer, keep[0])
    else:
        for axis, numbers in keep.items():
            _take(layer, ("weight", "bias") if axis == 0 else ("weight",), axis, numbers)
        _set_sizes(layer)


def reselected(selected: Sequence[int], gone: Sequence[int]) -> list[int]:
    """What a selection selects when its input loses the channels `gone`: the same, without them, by new numbers."""
    lost, left = set(gone), dict[int, int]()
    for channel in range(max(selected) + 1):
        if channel not in lost:
            left[channel] = len(left)
    return [left[channel] for channel in selected if channel in left]


def _cut_groups(conv: nn.Conv2d, keep: Tensor) -> None:
    """Keep outputs that are whole groups of the convolution, and what these read."""
    groups = len(keep) * conv.groups // conv.out_channels
    _take(conv, ("weight", "bias"), 0, keep)
    conv.in_channels = conv.in_channels // conv.groups * groups
    conv.groups, conv.out_channels = groups, len(keep)


def _set_sizes(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.Conv2d):
        layer.out_channels, layer.in_channels = layer.weight.shape[:2]


def _others(size: int, gone: Tensor) -> Tensor:
    """The numbers below `size` that stay, ascending."""
    stays = torch.ones(size, dtype=torch.bool)
    stays[gone] = False
    return stays.nonzero().flatten()


def _take(layer: nn.Module, names: Sequence[str], axis: int, keep: Tensor) -> None:
    for name in names:
        tensor = getattr(layer, name)
        if tensor is None:
            continue
        taken = tensor.detach().index_select(axis, keep.to(tensor.device)).clone()
        is_parameter = isinstance(tensor, nn.Parameter)
        setattr(layer, name, nn.Parameter(taken, requires_grad=tensor.requires_grad) if is_parameter else taken)
