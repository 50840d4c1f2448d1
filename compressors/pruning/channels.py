"""Structured pruning: the least important channels of a group are removed from every member."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from compressors.pruning.importances import Group, Importance
from compressors.support import FLOATS, Unsupported, check_floats, check_no_hooks, check_own_type, check_sizes, refuse

_KINDS = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)


def prune(module: nn.Module, groups: Sequence[Group], kept: Mapping[str, int], *, importance: Importance) -> None:
    """Cut every group named in `kept` down to its count, in place; the most important channels stay, in order.

    Members are plain convolutions (full, or depthwise with one filter per channel), linear layers and batch norms whose
    size along the axis is the group's width. Anything else is refused before a channel is cut: ValueError for groups
    and counts that do not fit, Unsupported (a TypeError and a ValueError) for layers.
    """
    for group in check(module, groups, kept):
        keep = _most_important(module, group, kept[group.name], importance)
        for path, axis in group.members:
            _cut(module.get_submodule(path), axis, keep)


def check(module: nn.Module, groups: Sequence[Group], kept: Mapping[str, int]) -> list[Group]:
    """The groups named in `kept`. Raises what `prune` raises where they cannot be cut."""
    chosen = list(_chosen(groups, kept))
    _check_members(module, chosen)
    return chosen


def _chosen(groups: Sequence[Group], kept: Mapping[str, int]) -> Iterator[Group]:
    """The groups that are cut, their counts checked."""
    by_name = {group.name: group for group in groups}
    for name, count in kept.items():
        group = by_name.get(name)
        if group is None:
            raise ValueError(f"no channel group {name!r}, expected one of {sorted(by_name)}")
        if sum(other.name == name for other in groups) > 1:
            raise ValueError(f"channel group {name}: expected one of this name, got several")
        if not 1 <= count <= group.width:
            raise ValueError(f"group {name}: expected 1..{group.width} channels kept, got {count}")
        if not group.members:
            raise ValueError(f"group {group.name}: expected members to cut, got none")
        yield group


def _check_members(module: nn.Module, groups: Sequence[Group]) -> None:
    """Refuse what cutting would break: members that are none, that cannot be cut, or that would be cut twice."""
    names = _names(module)
    cut: dict[tuple[str, int], str] = {}
    for group in groups:
        for path, axis in group.members:
            member = _member(module, group, path)
            _check_layer(group, path, member, axis)
            _check_is_its_own(path, member, names)
            if (path, axis) in cut:
                raise ValueError(f"group {group.name}: {path}, axis {axis}, is already a member of {cut[path, axis]}")
            cut[path, axis] = group.name


def _names(module: nn.Module) -> dict[int, list[str]]:
    """Every name of every module and parameter, by the id of what it names."""
    names: dict[int, list[str]] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        names.setdefault(id(part), []).append(path)
    for path, part in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(part), []).append(path)
    return names


def _check_is_its_own(path: str, member: nn.Module, names: Mapping[int, Sequence[str]]) -> None:
    """Refuse a module with two names and a parameter of two modules: it might be cut twice, or in one place only."""
    if len(shared := names[id(member)]) > 1:
        raise refuse(path, member, "registered as", " and ".join(shared), "one name per module")
    for name, parameter in member.named_parameters(recurse=False):
        if len(shared := names[id(parameter)]) > 1:
            raise refuse(path, member, f"{name} shared by", " and ".join(shared), "parameters of its own")


def _member(module: nn.Module, group: Group, path: str) -> nn.Module:
    try:
        return module.get_submodule(path)
    except AttributeError:
        raise ValueError(f"group {group.name}: the network has no member {path!r}") from None


def _check_layer(group: Group, path: str, member: nn.Module, axis: int) -> None:
    """Refuse a layer that cannot be cut along the axis, and one that has not the group's channels there."""
    check_own_type(path, member, _KINDS, "cut channels of")
    assert isinstance(member, _KINDS)
    check_no_hooks(path, member)
    check_floats(path, member, FLOATS)
    check_sizes(path, member)
    axes = (0,) if isinstance(member, nn.BatchNorm2d) else (0, 1)
    if isinstance(member, nn.Conv2d) and member.groups > 1:
        if not member.in_channels == member.out_channels == member.groups:
            raise Unsupported(
                f"cannot cut channels of a convolution in {member.groups} groups ({path}) with {member.in_channels} "
                f"inputs and {member.out_channels} outputs, unless it is depthwise with one filter per channel"
            )
        axes = (0,)
    if axis not in axes:
        raise refuse(path, member, f"group {group.name}: axis", axis, " or ".join(map(str, axes)))
    size = member.num_features if isinstance(member, nn.BatchNorm2d) else member.weight.shape[axis]
    if size != group.width:
        raise refuse(path, member, f"group {group.name}: channels along axis {axis}", size, str(group.width))


def _most_important(module: nn.Module, group: Group, count: int, importance: Importance) -> Tensor:
    """Numbers of the channels that stay, ascending."""
    scores = importance(module, group)
    if scores.shape != (group.width,) or not bool(torch.isfinite(scores).all()):
        raise ValueError(f"group {group.name}: expected {group.width} finite scores of importance, got {scores}")
    return torch.topk(scores, count).indices.sort().values


def _cut(module: nn.Module, axis: int, keep: Tensor) -> None:
    """Keep the given channels of one module along a weight axis (0: outputs, 1: inputs)."""
    if isinstance(module, nn.BatchNorm2d):
        _select(module, ("weight", "bias", "running_mean", "running_var"), 0, keep)
        module.num_features = len(keep)
        return
    _select(module, ("weight", "bias") if axis == 0 else ("weight",), axis, keep)
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.Conv2d):
        if module.groups > 1:  # depthwise
            module.groups = module.in_channels = module.out_channels = len(keep)
        else:
            module.out_channels, module.in_channels = module.weight.shape[:2]


def _select(module: nn.Module, names: Sequence[str], axis: int, keep: Tensor) -> None:
    for name in names:
        tensor = getattr(module, name)
        if tensor is None:
            continue
        cut = tensor.detach().index_select(axis, keep.to(tensor.device)).clone()
        is_parameter = isinstance(tensor, nn.Parameter)
        setattr(module, name, nn.Parameter(cut, requires_grad=tensor.requires_grad) if is_parameter else cut)
