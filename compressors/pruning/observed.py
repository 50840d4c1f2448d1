"""Importance by data: what a trained network's loss and activations say of its channels, all groups in one pass.

Networks are looked at in eval mode and left as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from compressors.evidence import Evidence, evaluating
from compressors.pruning.gates import gated, watched
from compressors.pruning.places import Group, Place, weighed

Scores = dict[str, Tensor]


def taylor(network: nn.Module, groups: Sequence[Group], evidence: Evidence) -> Scores:
    """(sum of gradient x weight)^2, the mean over batches (Molchanov et al. 2019, arXiv:1906.10771, equation 8).

    The sum runs over all parameters that go with a channel: the first-order change of the loss when they become zero.
    """
    names, parameters = zip(*network.named_parameters(), strict=True)
    totals, count = {group.name: torch.zeros(group.width) for group in groups}, 0
    with evaluating(network):
        for images, labels in evidence.batches:
            loss = evidence.loss(network(images), labels)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            products = {
                name: (weight * gradient).detach()
                for name, weight, gradient in zip(names, parameters, gradients, strict=True)
                if gradient is not None
            }
            sums = _Sums(products)
            for group in groups:
                totals[group.name] += _by_channel(network, sums, group).square()
            count += 1
    return {name: total / max(1, count) for name, total in totals.items()}


class _Sums(dict[tuple[str, int], Tensor]):
    """Sums of values along an axis, by parameter's name and axis, each worked out once: groups share layers."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.values_by_name = values

    def __missing__(self, key: tuple[str, int]) -> Tensor:
        name, axis = key
        along = self.values_by_name[name].transpose(0, axis)
        self[key] = along.reshape(len(along), -1).sum(1)
        return self[key]


def _by_channel(network: nn.Module, sums: _Sums, group: Group) -> Tensor:
    """Sums (width,) of values by parameter's name over all that go with each channel."""
    total = torch.zeros(group.width)
    for place, _ in weighed(network, group):
        for kind in ("weight", "bias") if place.axis == 0 else ("weight",):
            if (name := f"{place.path}.{kind}") in sums.values_by_name:
                total += place.summed(sums[name, place.axis]).cpu()
    return total


def saliency(network: nn.Module, groups: Sequence[Group], evidence: Evidence) -> Scores:
    """|gradient x activation| summed over a channel's map, the mean over images (Molchanov et al. 2017,
    arXiv:1611.06440).

    It is the gradient of an image's loss by a gate on all that reads the channel.
    """
    totals, count = {group.name: torch.zeros(group.width) for group in groups}, 0
    with evaluating(network):
        for images, labels in evidence.batches:
            gates = {g.name: images.new_ones(len(images), g.width).requires_grad_() for g in groups}
            with gated(network, groups, gates):
                loss = evidence.loss(network(images), labels) * len(images)  # the mean over the batch before
            for group, gradient in zip(groups, torch.autograd.grad(loss, list(gates.values())), strict=True):
                totals[group.name] += gradient.abs().sum(0).cpu()
            count += len(images)
    return {name: total / max(1, count) for name, total in totals.items()}


@torch.no_grad()
def positive_share(network: nn.Module, groups: Sequence[Group], evidence: Evidence) -> Scores:
    """Share of a channel's outputs that are above 0: one less the average percentage of zeros (APoZ, Hu et al. 2016,
    arXiv:1607.03250), whatever the activation is. Outputs are seen where they are read.
    """
    seen = {group.name: torch.zeros(2, group.width) for group in groups}

    def see(place: Place, values: Tensor) -> None:
        flat = values.transpose(0, 1).flatten(1)
        above, total = seen[place.group.name]
        above += place.summed((flat > 0).sum(1)).cpu()
        total += flat.shape[1] * place.repeats

    with evaluating(network), ExitStack() as hooks:
        for group in groups:
            hooks.enter_context(watched(network, group, see))
        for images, _ in evidence.batches:
            network(images)
    return {name: above / total.clamp_min(1) for name, (above, total) in seen.items()}


@torch.no_grad()
def leave_one_out(network: nn.Module, groups: Sequence[Group], evidence: Evidence) -> Scores:
    """By how much the loss rises when one channel is removed, exactly; below 0 where it falls.

    One pass over all batches for every channel: slow, and what the other criteria stand in for.
    """
    with evaluating(network):
        whole = _loss(network, evidence)
        return {group.name: torch.tensor(list(_rises(network, group, evidence, whole))) for group in groups}


def _rises(network: nn.Module, group: Group, evidence: Evidence, whole: float) -> Iterator[float]:
    device = next(network.parameters()).device
    for channel in range(group.width):
        gates = torch.ones(group.width, device=device)
        gates[channel] = 0.0
        with gated(network, [group], {group.name: gates}):
            yield _loss(network, evidence) - whole


def _loss(network: nn.Module, evidence: Evidence) -> float:
    """The mean over the images, in double precision."""
    total, count = 0.0, 0
    for images, labels in evidence.batches:
        total += float(evidence.loss(network(images), labels)) * len(images)
        count += len(images)
    return total / max(1, count)
