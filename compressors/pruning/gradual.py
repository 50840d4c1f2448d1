"""Pruning little by little: channels become zero while the network trains on, and are cut at the end.

What is kept of it is part of the network, so that a checkpoint holds it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compressors.evidence import Evidence
from compressors.pruning.channels import prune
from compressors.pruning.criteria import Criterion
from compressors.pruning.places import Group, weighed
from compressors.ramp import cubic

NAME = "gradual_pruning"  # of the module in the network
# Share of the stage in which channels go. Rates fall in it: what goes late is not made up for. On digits, with three
# quarters of the channels gone and 4 seeds: 94.8 % for 0.75, 94.9 % for 0.5, 96.3 % for 0.3, and 95.9 % at once.
RAMP = 0.3
ROUNDS = 12  # times at which channels go


class Gradual(nn.Module):
    """Which channels of each of the groups are zero so far (bool), and the latest scores, as buffers; never called.

    `kept` says how many are left of each in the end. A copy shares the evidence.
    """

    def __init__(
        self, groups: Sequence[Group], kept: Mapping[str, int], criterion: Criterion, evidence: Evidence | None
    ) -> None:
        super().__init__()
        self.groups = list(groups)
        self.kept, self.criterion, self.evidence = dict(kept), criterion, evidence
        self._zeros: tuple[Tensor, list[tuple[Tensor, int, Tensor]]] | None = None
        self._numbers = {group.name: number for number, group in enumerate(self.groups)}
        for number, group in enumerate(self.groups):
            self.register_buffer(f"gone{number}", torch.zeros(group.width, dtype=torch.bool))
            self.register_buffer(f"score{number}", torch.zeros(group.width))

    def __deepcopy__(self, _: dict[int, Any]) -> Gradual:
        copied = Gradual(self.groups, self.kept, self.criterion, self.evidence)
        copied.to(next(self.buffers()).device).load_state_dict(self.state_dict())
        return copied

    def gone(self, group: Group) -> Tensor:
        return self.get_buffer(f"gone{self._numbers[group.name]}")

    def scores(self, group: Group) -> Tensor:
        """The latest scores; of channels that are zero, and stay so, minus infinity."""
        return self._latest(group).masked_fill(self.gone(group), -math.inf)

    def rank(self, network: nn.Module) -> None:
        """Take new scores."""
        found = self.criterion.score(network, self.groups, self.evidence)
        for group in self.groups:
            self._latest(group).copy_(found[group.name])

    def counts(self, done: float) -> dict[str, int]:
        """Group -> channels that are zero when a share of the stage is done."""
        share = ramped(done)
        return {group.name: int(share * (group.width - self.kept[group.name]) + 0.5) for group in self.groups}

    def zeros(self, network: nn.Module) -> list[tuple[Tensor, int, Tensor]]:
        """What is zero so far: parameters, axes, and which numbers along them. Every step asks; it rarely changes."""
        gone = torch.cat([self.gone(group) for group in self.groups])
        if self._zeros is None or not torch.equal(self._zeros[0], gone):
            self._zeros = gone, list(_zeros(network, self))
        return self._zeros[1]

    def _latest(self, group: Group) -> Tensor:
        return self.get_buffer(f"score{self._numbers[group.name]}")


def ramped(done: float) -> float:
    """The share of the channels to go that are gone when a share of the stage is done: a cubic, in rounds."""
    return cubic(math.floor(done / RAMP * ROUNDS + 1e-9) / ROUNDS)


def begin(network: nn.Module, gradual: Gradual, *, ranks: bool) -> nn.Module:
    """The network, the same object, with `gradual` in it; nothing is zero yet.

    With `ranks` it has the weights that the first scores are taken of; without, they follow from a checkpoint.
    """
    gradual = gradual.to(next(network.parameters()).device)
    if ranks:
        gradual.rank(network)
    network.add_module(NAME, gradual)
    return network


def gradual_of(network: nn.Module) -> Gradual | None:
    found = getattr(network, NAME, None)
    return found if isinstance(found, Gradual) else None


def proceed(network: nn.Module, done: float) -> None:
    """Zero as many channels as a share of the stage asks for, and those that were zero before again."""
    gradual = gradual_of(network)
    if gradual is None:
        return
    counts = gradual.counts(done)
    if any(counts[group.name] > int(gradual.gone(group).sum()) for group in gradual.groups):
        if gradual.criterion.reads != "momenta":  # which are those of the stage before
            gradual.rank(network)
        for group in gradual.groups:
            lowest = torch.topk(gradual.scores(group), counts[group.name], largest=False).indices
            gradual.gone(group)[lowest] = True
    hold(network)


@torch.no_grad()
def hold(network: nn.Module) -> None:
    """Make zero again what an optimizer's step, or an average over steps, has moved."""
    gradual = gradual_of(network)
    if gradual is None:
        return
    for parameter, axis, gone in gradual.zeros(network):
        parameter.transpose(0, axis)[gone] = 0.0


def _zeros(network: nn.Module, gradual: Gradual) -> Iterator[tuple[Tensor, int, Tensor]]:
    """Every parameter of which rows are zero, the axis, and which of them (bool) along it, of all groups together."""
    found: dict[tuple[str, int], Tensor] = {}
    for group in gradual.groups:
        for place, layer in weighed(network, group):
            where = place.path, place.axis
            for parameter in _along(layer, place.axis)[:1]:
                own = place.spread(gradual.gone(group), parameter.shape[place.axis], False)
                found[where] = found[where] | own if where in found else own
    for (path, axis), gone in found.items():
        for parameter in _along(network.get_submodule(path), axis):
            yield parameter, axis, gone


def _along(layer: nn.Module, axis: int) -> list[Tensor]:
    """The parameters of a layer that have its channels along an axis."""
    return [own for name, own in layer.named_parameters(recurse=False) if axis == 0 or name == "weight"]


def complete(network: nn.Module) -> nn.Module:
    """The network with its channels cut; the same object.

    Behind a stage those are zero that go. Without one, as in a network whose weights are not real, the latest scores
    say which: nothing is asked of data here.
    """
    gradual = gradual_of(network)
    if gradual is not None:
        delattr(network, NAME)
        prune(network, gradual.groups, gradual.kept, importance=lambda _, group: _places(gradual.scores(group)))
    return network


def _places(scores: Tensor) -> Tensor:
    """Each score's place in their order, from the lowest on; scores may be infinite, places are not."""
    return scores.argsort().argsort().float().cpu()
