"""How sensitive a trained network is, layer by layer: one change at a time, without training (arXiv:1608.08710).

A format is given to one layer: its weights get codes, and what it reads and writes 8 bits, ranges set from a few
batches. Of a channel group the channels of least L2 norm are cut, the norm folded into the weights. All else stays.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from compressors.budgets import own_grid
from compressors.low_rank.paths import located
from compressors.pipeline import Options, compress
from compressors.plan import CompressionPlan, kept_channels
from compressors.pruning import Group, prune, weight_norm
from compressors.pruning.narrowed import narrowed
from nas.candidates.candidate import Candidate
from nas.run_folder.sensitivity import Point
from nas.training.inference import predict


@dataclass(frozen=True)
class Changes:
    """What is tried: formats of every layer, and ratios of these channel groups, rounded to the grid of widths."""

    formats: tuple[str, ...]
    ratios: tuple[float, ...]
    groups: tuple[str, ...]
    grid: int

    def all_of(self, candidate: Candidate) -> list[tuple[str, str, str | float]]:
        """Every change as (kind, name, value), layer by layer, then group by group."""
        able = [layer for layer in candidate.layers(1) if not layer.runs_again]  # those stay float
        layers = list(dict.fromkeys(layer.whole for layer in able))  # factors have one format
        groups = [group.name for group in candidate.groups() if group.name in self.groups]
        formats: list[tuple[str, str, str | float]] = [("format", name, fmt) for name in layers for fmt in self.formats]
        return formats + [("ratio", name, ratio) for name in groups for ratio in self.ratios]


@dataclass(frozen=True)
class Subject:
    """A trained network with folded batch norm, whose it is, and the images it is looked at with.

    batches: training images (N, C, H, W) that ranges are set from. images, labels: of the validation split, uint8.
    """

    network: nn.Module
    candidate: Candidate
    batches: Sequence[Tensor]
    images: Tensor
    labels: Tensor

    def accuracy(self, network: nn.Module | None = None) -> float:
        """Of a changed network; by default of this one."""
        answers = predict(network if network is not None else self.network, self.images).argmax(1)
        return float((answers == self.labels.cpu()).float().mean())


def scan(subject: Subject, changes: Changes, known: Iterable[Point] = ()) -> Iterator[Point]:
    """Every change's accuracy; those of `known` first, unchanged."""
    found = {(point.kind, point.name, point.value): point for point in known}
    asked = changes.all_of(subject.candidate)
    yield from (found[change] for change in asked if change in found)
    whole = subject.accuracy()
    for kind, name, value in asked:
        if (kind, name, value) in found:
            continue
        if kind == "format":
            changed = with_format(subject, name, str(value))
            yield Point(kind="format", name=name, value=str(value), accuracy=subject.accuracy(changed))
        else:
            cut = without_channels(subject, name, float(value), changes.grid)
            yield Point(
                kind="ratio", name=name, value=float(value), accuracy=whole if cut is None else subject.accuracy(cut)
            )


def with_format(subject: Subject, layer: str, weight_format: str) -> nn.Module:
    """A copy with one layer in this format."""
    plan = CompressionPlan.model_validate({"formats": {layer: weight_format}})
    return compress(subject.network, plan, Options(), subject.batches)


def without_channels(subject: Subject, group: str, ratio: float, grid: int) -> nn.Module | None:
    """A copy with this share of a group's channels gone; None where as few are left already, or it is not known which
    of a layer's are the group's.
    """
    whole = next(one for one in subject.candidate.groups() if one.name == group)
    found = as_it_is(subject, group)
    count = kept_channels(whole.width, ratio, own_grid(grid, whole.unit))
    if found is None or count >= found.width:
        return None
    network = copy.deepcopy(subject.network)
    prune(network, [found], {group: count}, importance=weight_norm(2))
    return network


def as_it_is(subject: Subject, group: str) -> Group | None:
    """The group in a network whose batch norms are folded, whose layers may be factored and whose channels fewer."""
    there = {name for name, _ in subject.network.named_modules()}
    left = narrowed(subject.candidate.groups(), subject.candidate.plan.kept)
    found = next((one for one in left if one.name == group), None)
    if found is None:
        return None
    spans = found.spans or (None,) * len(found.members)
    members = [(member, span) for member, span in zip(found.members, spans, strict=True) if member[0] in there]
    own = replace(found, members=tuple(m for m, _ in members), spans=tuple(s for _, s in members))
    return located(subject.network, [own])[0]
