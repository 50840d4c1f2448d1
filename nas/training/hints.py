"""What a student is to hold inside beside its answers: its stages are compared with a teacher's of the same depth."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from compressors.distillation import Fit, attention_loss, feature_loss
from compressors.taps import parts_of, scale_ends, tapped
from nas.errors import InputError
from nas.study import Distillation
from nas.study.numbers import decided

STAGE = re.compile(r"stage(\d+)(?:\.block(\d+))?")


class Pair(NamedTuple):
    """The end of a part of the student, and the end of the teacher's part that it is compared with."""

    student: str
    teacher: str


def pairs_of(asked: Sequence[str], student: nn.Module, teacher: nn.Module, images: Tensor) -> tuple[Pair, ...]:
    """Each part that is asked for (none: every stage's end) with the teacher's of its name, else of its depth.

    Parts that the student lacks are left out. `images` (N, C, H, W) show where a teacher without stages makes its maps
    smaller. Raises InputError for a teacher without maps.
    """
    own = parts_of(student)
    stages = stage_ends(own)
    known = parts_of(teacher)
    ends = stage_ends(known) or scale_ends(teacher, images)
    if not ends:
        raise InputError(
            "training.distillation: features_weight and attention_weight need a teacher with feature maps of several "
            f"sizes, got {type(teacher).__name__} on images of {tuple(images.shape[-2:])} pixels"
        )
    wanted = [part for part in asked or stages if part in own]
    return tuple(Pair(part, part if part in known else _as_deep(_depth(part, own), ends)) for part in wanted)


def stage_ends(parts: Collection[str]) -> tuple[str, ...]:
    """The stages among the names of parts, in order."""
    numbers = {int(found[1]) for part in parts if (found := STAGE.fullmatch(part)) and found[2] is None}
    return tuple(f"stage{number}" for number in sorted(numbers))


def _depth(part: str, parts: Collection[str]) -> float:
    """How deep in the network the end of a stage or block lies, in (0, 1]."""
    found = STAGE.fullmatch(part)
    assert found is not None
    stages, stage = stage_ends(parts), f"stage{found[1]}"
    before, blocks = stages.index(stage), _blocks_of(stage, parts)
    within = 1.0 if found[2] is None else (blocks.index(part) + 1) / len(blocks)
    return (before + within) / len(stages)


def _blocks_of(stage: str, parts: Collection[str]) -> list[str]:
    """Those that are there, in order: others may have been removed."""
    found = [(int(match[2]), part) for part in parts if (match := STAGE.fullmatch(part)) and match[2]]
    return [part for _, part in sorted(found) if part.startswith(f"{stage}.")]


def _as_deep(depth: float, ends: Sequence[str]) -> str:
    """The last of the ends that is no deeper; the first where all are."""
    return ends[max(1, int(depth * len(ends) + 1e-9)) - 1]


@dataclass(frozen=True, eq=False)
class Hints:
    """The hidden part of a distillation. `reads` and `shows` are student and teacher as functions that also give what
    they hold at the pairs' ends; `projections` (teacher's channels, student's) are trained beside the student and not
    shipped; they are none where features have no weight.
    """

    reads: nn.Module
    shows: nn.Module
    projections: tuple[nn.Parameter, ...]
    features_weight: float
    attention_weight: float

    @classmethod
    def between(
        cls, student: nn.Module, teacher: nn.Module, pairs: Sequence[Pair], images: Tensor, *, features_weight: float,
        attention_weight: float,
    ) -> Hints:  # fmt: skip
        """Projections are zero until `fit`; `images` (N, C, H, W) show how many channels there are."""
        reads = tapped(student, [pair.student for pair in pairs])
        shows = tapped(teacher, [pair.teacher for pair in pairs])
        found = list[nn.Parameter]()
        if features_weight:
            held = _seen(reads, images, training=False), _seen(shows, images, training=False)
            for own, wanted in zip(*held, strict=True):
                found.append(nn.Parameter(torch.zeros(wanted.shape[1], own.shape[1], device=images.device)))
        return cls(reads, shows, tuple(found), features_weight, attention_weight)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Let every projection begin as the one of least squared error on these images, so that no training is lost to
        finding it, and no random one pulls at the student. Its maps are those of its training mode: statistics of an
        untrained network are of nothing.
        """
        fits = [Fit() for _ in self.projections]
        for images in batches if fits else ():
            held = _seen(self.reads, images, training=True), _seen(self.shows, images, training=False)
            for own, maps in zip(fits, zip(*held, strict=True), strict=True):
                own.add(*maps)
        for projection, own in zip(self.projections, fits, strict=True):
            projection.copy_(own.projection())

    @torch.no_grad()
    def teach(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The teacher's logits (N, classes), and its maps; it is in eval mode, whatever was done to it."""
        answers, maps = self.shows(images)
        return answers, maps

    def __call__(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The weighted sum of both losses, each the mean over the pairs of (N, C, H, W) maps."""
        total = torch.zeros((), device=student[0].device)
        maps = list(zip(student, teacher, strict=True))
        if self.features_weight:
            rows = zip(maps, self.projections, strict=True)
            losses = [feature_loss(own, wanted, projection) for (own, wanted), projection in rows]
            total = total + self.features_weight * torch.stack(losses).mean()
        if self.attention_weight:
            losses = [attention_loss(own, wanted) for own, wanted in maps]
            total = total + self.attention_weight * torch.stack(losses).mean()
        return total


def hints_of(options: Distillation, student: nn.Module, teacher: nn.Module, images: Tensor) -> Hints | None:
    """What `options` ask for between two networks, shown by images (N, C, H, W); None where the student has no part
    that is asked for.
    """
    pairs = pairs_of(options.at, student, teacher, images)
    features, attention = decided(options.features_weight), decided(options.attention_weight)
    if not pairs:
        return None
    return Hints.between(student, teacher, pairs, images, features_weight=features, attention_weight=attention)


@torch.no_grad()
def _seen(read: nn.Module, images: Tensor, *, training: bool) -> tuple[Tensor, ...]:
    """What a network that is read holds in one of its modes; modes, statistics and ranges are left as they were."""
    modes = [(module, module.training) for module in read.modules()]
    kept = [(buffer, buffer.clone()) for buffer in read.buffers()]
    read.train(training)
    try:
        held: tuple[Tensor, ...] = read(images)[1]
    finally:
        for module, mode in modes:
            module.training = mode
        for buffer, value in kept:
            buffer.copy_(value)
    return held
