"""The table of criteria: what ranks the channels of all groups of a network."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from compressors.evidence import Evidence
from compressors.pruning.importances import Importance, batch_norm_scale, geometric_median, moment_norm, weight_norm
from compressors.pruning.observed import Scores, leave_one_out, positive_share, saliency, taylor
from compressors.pruning.places import Group

Source = Literal["weights", "momenta", "batches"]


@dataclass(frozen=True)
class Criterion:
    """One row.

    score: network, groups, evidence -> group -> one score per channel; the lowest are removed first.
    reads: what it looks at besides the network; all but `weights` need evidence.
    is_common: whether scores of different groups compare as they are; else each group's are divided by their mean
    where groups compete.
    adds_up: whether the score of a channel that is several of a layer is the more, the more they are; where groups
    compete it is divided by their number, since so many go.
    """

    score: Callable[[nn.Module, Sequence[Group], Evidence | None], Scores]
    reads: Source = "weights"
    is_common: bool = False
    adds_up: bool = False

    @property
    def needs_evidence(self) -> bool:
        return self.reads != "weights"

    def comparable(self, scores: Mapping[str, Tensor], units: Mapping[str, int]) -> Scores:
        """Scores that compare between groups, whose channels are so many of a layer each."""
        if self.is_common:
            return {name: own / units[name] if self.adds_up else own for name, own in scores.items()}
        return {name: own / own.abs().mean().clamp_min(1e-12) for name, own in scores.items()}


def by_group(importance: Importance) -> Criterion:
    """A criterion that looks at the weights of one group at a time."""

    def score(network: nn.Module, groups: Sequence[Group], _: Evidence | None) -> Scores:
        return {group.name: importance(network, group) for group in groups}

    return Criterion(score)


def by_batches(score: Callable[[nn.Module, Sequence[Group], Evidence], Scores], *, adds_up: bool) -> Criterion:
    """A criterion in units of loss, which add up, or of activity."""
    return Criterion(partial(_with_evidence, score), reads="batches", is_common=True, adds_up=adds_up)


def _with_evidence(
    score: Callable[[nn.Module, Sequence[Group], Evidence], Scores],
    network: nn.Module,
    groups: Sequence[Group],
    evidence: Evidence | None,
) -> Scores:
    if evidence is None:
        raise ValueError("importance of channels: expected evidence, which this criterion reads, got None")
    return score(network, groups, evidence)


def _momentum(network: nn.Module, groups: Sequence[Group], evidence: Evidence) -> Scores:
    importance = moment_norm(evidence.momenta)
    return {group.name: importance(network, group) for group in groups}


def _random(_: nn.Module, groups: Sequence[Group], evidence: Evidence | None) -> Scores:
    """Uniform in [0, 1), by the training's seed and the group's name: the control."""
    seed = evidence.seed if evidence is not None else 0

    def draw(name: str, width: int) -> Tensor:
        mixed = zlib.crc32(f"{seed} {name}".encode())
        return torch.rand(width, generator=torch.Generator().manual_seed(mixed))

    return {group.name: draw(group.name, group.width) for group in groups}


IMPORTANCES: Mapping[str, Criterion] = {
    "l1": by_group(weight_norm(1)),
    "l2": by_group(weight_norm(2)),
    "bn_scale": Criterion(by_group(batch_norm_scale).score, is_common=True),
    "taylor": by_batches(taylor, adds_up=True),
    "saliency": by_batches(saliency, adds_up=True),
    "momentum": Criterion(partial(_with_evidence, _momentum), reads="momenta"),
    "apoz": by_batches(positive_share, adds_up=False),
    "geometric_median": by_group(geometric_median),
    "random": Criterion(_random, is_common=True),
    "leave_one_out": by_batches(leave_one_out, adds_up=True),
}
