"""What the members of channel groups must be for their channels to be cut: all is checked before any is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compressors.pruning.cutting import KINDS, NORMS, size_along
from compressors.pruning.places import Group, Place, Selection, places_of
from compressors.support import FLOATS, Unsupported, check_floats, check_no_hooks, check_own_type, check_sizes, refuse


def check_members(module: nn.Module, groups: Sequence[Group]) -> None:
    """Refuse what cutting would break: members that are none, that cannot be cut, or that would be cut twice."""
    names = _names(module)
    cut: dict[tuple[str, int], dict[int, str]] = {}
    for group in groups:
        for place in places_of(group):
            layer = _member(module, place)
            _check_layer(place, layer)
            _check_is_its_own(place.path, layer, names)
            numbers, taken = place.numbers().flatten().tolist(), cut.setdefault((place.path, place.axis), {})
            if other := next((taken[number] for number in numbers if number in taken), None):
                raise ValueError(f"group {group.name}: {place.path}, axis {place.axis}, is already a member of {other}")
            taken |= dict.fromkeys(numbers, group.name)


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


def _member(module: nn.Module, place: Place) -> nn.Module:
    try:
        return module.get_submodule(place.path)
    except AttributeError:
        raise ValueError(f"group {place.group.name}: the network has no member {place.path!r}") from None


def _check_layer(place: Place, layer: nn.Module) -> None:
    """Refuse a layer that cannot be cut along the axis, and one that has not the group's channels there."""
    if isinstance(layer, Selection):
        _check_axis(place, layer, (0, 1))
        _check_selection(place, layer)
        return
    check_own_type(place.path, layer, KINDS, "cut channels of")
    assert isinstance(layer, KINDS)
    check_no_hooks(place.path, layer)
    check_floats(place.path, layer, FLOATS)
    check_sizes(place.path, layer)
    _check_axis(place, layer, (0,) if isinstance(layer, NORMS) else (0, 1))
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        _check_groups(place, layer)
    else:
        _check_numbers(place, layer, size_along(layer, place.axis))


def _check_axis(place: Place, layer: nn.Module, axes: Sequence[int]) -> None:
    if place.axis not in axes:
        supported = " or ".join(map(str, axes))
        raise refuse(place.path, layer, f"group {place.group.name}: axis", place.axis, supported)


def _check_numbers(place: Place, layer: nn.Module, size: int | None) -> None:
    """Refuse numbers that are not those of the group's channels along an axis of this size, where that is known."""
    group, expected = place.group, place.group.width * place.group.unit
    if place.span is None:
        if size not in (None, expected):
            raise refuse(
                place.path, layer, f"group {group.name}: channels along axis {place.axis}", size, str(expected)
            )
        return
    if len(place.span) != group.width:
        raise ValueError(
            f"group {group.name}: expected a span of {group.width} channels in {place.path}, got {len(place.span)}"
        )
    numbers = place.numbers().flatten()
    if len(set(numbers.tolist())) < len(numbers):
        raise ValueError(f"group {group.name}: expected each number along axis {place.axis} of {place.path} once")
    least, most = int(numbers.min()), int(numbers.max())
    if least < 0 or (size is not None and most >= size):
        words = f"group {group.name}: numbers along axis {place.axis}"
        raise refuse(place.path, layer, words, f"{least} to {most}", f"0 to {(size or most + 1) - 1}")


def _at(place: Place, axis: int) -> Place | None:
    """Where the same group is along another axis of the layer."""
    return next((p for p in places_of(place.group) if (p.path, p.axis) == (place.path, axis)), None)


def _check_groups(place: Place, conv: nn.Conv2d) -> None:
    """Refuse parts of a convolution's groups: all of one goes together, what it reads and what it writes.

    What it reads follows from what it writes, and need not be named.
    """
    outputs = _at(place, 0)
    if outputs is None:
        _check_axis(place, conv, (0,))
    found = list[Tensor | None]()
    for each in (outputs, _at(place, 1) or outputs):
        assert each is not None
        _check_numbers(each, conv, size_along(conv, each.axis))
        found.append(_of_groups(each, conv))
    if found[0] is None or found[1] is None or not torch.equal(found[0], found[1]):
        raise Unsupported(
            f"cannot cut channels of a convolution in {conv.groups} groups ({place.path}) with {conv.in_channels} "
            f"inputs and {conv.out_channels} outputs, unless its groups stay whole: "
            f"{place.group.name} has parts of them"
        )


def _of_groups(place: Place, conv: nn.Conv2d) -> Tensor | None:
    """The channel (groups,) that each group of a convolution belongs to; None where some belong to several."""
    owners = place.owners(conv.out_channels if place.axis == 0 else conv.in_channels).reshape(conv.groups, -1)
    return owners[:, 0] if bool((owners == owners[:, :1]).all()) else None


def _check_selection(place: Place, layer: Selection) -> None:
    """Refuse a group that has other channels behind a selection than before it."""
    assert isinstance(layer, nn.Module)
    selected = torch.tensor(tuple(layer.selected()))
    inputs, outputs = _at(place, 1), _at(place, 0)
    if inputs is None:
        raise ValueError(f"group {place.group.name}: expected the channels that {place.path} reads, got none")
    _check_numbers(inputs, layer, None)
    size = max(int(selected.max()), int(inputs.numbers().max())) + 1
    if outputs is not None:
        _check_numbers(outputs, layer, len(selected))
        if not torch.equal(outputs.owners(len(selected)), inputs.owners(size)[selected]):
            raise ValueError(f"group {place.group.name}: expected the channels that {place.path} selects behind it")
