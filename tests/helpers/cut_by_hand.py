"""An existing network run node by node with channels cut out of its weights, each tensor's channels known by number.

It knows nothing of how groups are found: that the channels which meet are the same ones is asserted at each node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.blocks import SelectChannels
from search_spaces.existing.blueprint import INPUT, Blueprint, Node
from search_spaces.existing.building import ExistingNetwork
from search_spaces.layers import ChannelGroup, Member

Mask = NDArray[np.bool_]


def lying(group: ChannelGroup, member: Member, channels: Sequence[int]) -> list[int]:
    """Where channels of a group lie along a member's axis."""
    span = group.spans[group.members.index(member)] if group.spans else None
    return list(channels) if span is None else [place for channel in channels for place in span[channel]]


def removed_from(groups: Sequence[ChannelGroup], gone: Mapping[str, Sequence[int]]) -> dict[Member, set[int]]:
    """What goes of every axis, by member."""
    found: dict[Member, set[int]] = {}
    for group in groups:
        for member in group.members:
            places = lying(group, member, gone.get(group.name, ()))
            assert len(set(places)) == len(places)
            assert not set(places) & found.get(member, set()), "two groups hold one channel"
            found.setdefault(member, set()).update(places)
    return found


def masked(network: ExistingNetwork, removed: Mapping[Member, Set[int]]) -> None:
    """Let no layer read the channels, in place."""
    for (path, axis), places in removed.items():
        if axis == 1 and not isinstance(network.get_submodule(path), SelectChannels):
            network.get_submodule(path).weight.data[:, sorted(places)] = 0.0


class CutByHand:
    """The cut network; `ran` has what each layer did: path -> shape of its weight as cut, multiply-accumulates."""

    def __init__(self, network: ExistingNetwork, blueprint: Blueprint, removed: Mapping[Member, Set[int]]) -> None:
        self._network, self._blueprint, self._removed = network, blueprint, removed
        self.ran: dict[str, tuple[tuple[int, ...], int]] = {}

    def __call__(self, images: Tensor) -> Tensor:
        tensors: dict[str, tuple[Tensor, Mask]] = {INPUT: (images, np.ones(images.shape[1], bool))}
        for node in self._blueprint.nodes:
            tensors[node.name] = self._run(node, [tensors[name] for name in node.reads])
            value, left = tensors[node.name]
            assert value.shape[1] == left.sum() > 0
        return tensors[self._blueprint.nodes[-1].name][0]

    def _run(self, node: Node, read: list[tuple[Tensor, Mask]]) -> tuple[Tensor, Mask]:
        values, masks = [value for value, _ in read], [mask for _, mask in read]
        x, mask = read[0]
        match node.op:
            case "conv" | "linear" | "norm" | "norm1d":
                return self._layer(node, x, mask)
            case "concatenate":
                return torch.cat(values, 1), np.concatenate(masks)
            case "flatten":
                return x.flatten(1), np.repeat(mask, int(np.prod(x.shape[2:])))
            case "select":
                channels = node.fields["channels"]
                assert isinstance(channels, list)
                assert (self._left(node.name, 1, len(mask)) == mask).all(), f"{node.name}: other channels are read"
                assert (self._left(node.name, 0, len(channels)) == mask[channels]).all()
                new = np.cumsum(mask) - 1
                return x[:, [int(new[c]) for c in channels if mask[c]]], mask[channels]
            case "add" | "multiply":
                assert (masks[0] == masks[1]).all(), f"{node.name}: other channels meet"
                return (values[0] + values[1] if node.op == "add" else values[0] * values[1]), mask
        module = self._network.get_submodule(node.path)
        return module(x), mask

    def _left(self, path: str, axis: int, size: int) -> Mask:
        left = np.ones(size, bool)
        left[sorted(self._removed.get((path, axis), ()))] = False
        return left

    def _layer(self, node: Node, x: Tensor, mask: Mask) -> tuple[Tensor, Mask]:
        layer = self._network.get_submodule(node.path)
        out = self._left(node.path, 0, layer.weight.shape[0])
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert (out == mask).all(), f"{node.name}: other channels meet"
            values = (layer.running_mean, layer.running_var, layer.weight, layer.bias)
            self._note(node, (int(out.sum()),), int(out.sum()) * x[0, 0].numel())
            return functional.batch_norm(x, *(value[torch.from_numpy(out)] for value in values), eps=layer.eps), out
        weight, bias = layer.weight[out], None if layer.bias is None else layer.bias[out]
        if isinstance(layer, nn.Linear) or layer.groups == 1:
            assert (self._left(node.path, 1, layer.weight.shape[1]) == mask).all(), f"{node.name}: other channels meet"
            weight = weight[:, mask]
        if isinstance(layer, nn.Linear):
            result = functional.linear(x, weight, bias)
        else:
            groups = self._groups(layer, mask, out)
            result = functional.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, groups)
        self._note(node, tuple(weight.shape), weight.numel() * result[0, 0].numel())
        return result, out

    def _groups(self, layer: nn.Conv2d, mask: Mask, out: Mask) -> int:
        """The groups that are left, each whole."""
        if layer.groups == 1:
            return 1
        before, after = mask.reshape(layer.groups, -1), out.reshape(layer.groups, -1)
        assert (before.all(1) == before.any(1)).all()
        assert (after.all(1) == after.any(1)).all()
        assert (before.any(1) == after.any(1)).all()
        return int(before.any(1).sum())

    def _note(self, node: Node, shape: tuple[int, ...], macs: int) -> None:
        before = self.ran.get(node.path, (shape, 0))
        assert before[0] == shape
        self.ran[node.path] = shape, before[1] + macs
