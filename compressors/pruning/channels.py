"""Structured pruning: the least important channels of a group are removed from every member."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from compressors.pruning.cutting import cut, size_along
from compressors.pruning.importances import Importance
from compressors.pruning.members import check_members
from compressors.pruning.places import Group, channels_gone, places_of


def prune(module: nn.Module, groups: Sequence[Group], kept: Mapping[str, int], *, importance: Importance) -> None:
    """Cut every group named in `kept` down to its count, in place; the most important channels stay, in order.

    All groups are ranked in the network as it is given. Members are convolutions, linear layers, batch norms and
    selections of channels; a convolution in groups loses whole groups. Anything else is refused before a channel is
    cut: ValueError for groups and counts that do not fit, Unsupported (a TypeError and a ValueError) for layers.
    """
    chosen = check(module, groups, kept)
    keep = {group.name: _most_important(module, group, kept[group.name], importance) for group in chosen}
    expected = {
        (path, axis): size - gone
        for (path, axis), gone in channels_gone(chosen, kept).items()
        if (size := size_along(module.get_submodule(path), axis)) is not None
    }
    for path, axes in _numbers_gone(chosen, keep).items():
        cut(module.get_submodule(path), axes)
    _check_obeyed(module, expected)


def check(module: nn.Module, groups: Sequence[Group], kept: Mapping[str, int]) -> list[Group]:
    """The groups named in `kept`. Raises what `prune` raises where they cannot be cut."""
    chosen = list(_chosen(groups, kept))
    check_members(module, chosen)
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


def _check_obeyed(module: nn.Module, expected: Mapping[tuple[str, int], int]) -> None:
    """Raise ValueError for a layer that has not as many channels left along an axis as was asked for."""
    for (path, axis), size in expected.items():
        if (found := size_along(module.get_submodule(path), axis)) != size:
            raise ValueError(f"{path}: expected {size} channels along axis {axis} after pruning, got {found}")


def _most_important(module: nn.Module, group: Group, count: int, importance: Importance) -> Tensor:
    """Numbers of the channels that stay, ascending."""
    scores = importance(module, group)
    if scores.shape != (group.width,) or not bool(torch.isfinite(scores).all()):
        raise ValueError(f"group {group.name}: expected {group.width} finite scores of importance, got {scores}")
    return torch.topk(scores, count).indices.sort().values


def _numbers_gone(groups: Sequence[Group], keep: Mapping[str, Tensor]) -> dict[str, dict[int, Tensor]]:
    """Path -> axis -> the numbers along it that go, of all groups that have channels there."""
    found: dict[str, dict[int, list[Tensor]]] = {}
    for group in groups:
        goes = torch.ones(group.width, dtype=torch.bool)
        goes[keep[group.name].cpu()] = False
        for place in places_of(group):
            found.setdefault(place.path, {}).setdefault(place.axis, []).append(place.numbers()[goes].flatten())
    return {path: {axis: torch.cat(parts) for axis, parts in axes.items()} for path, axes in found.items()}
