"""What a training loop reads: the keys of `training` with a plain number in the place of every searched one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from nas.study.section import AboveZero, Section

Optimizer = Literal["sgd", "adamw", "adam", "rmsprop"]
Schedule = Literal["cosine", "one_cycle", "step", "exponential", "linear", "constant"]
Cycle = Literal["whole", "stage", "tail"]
BatchNorm = Literal["folded", "live"]
PEAK_LEARNING_RATES: Mapping[Optimizer, float] = {"sgd": 0.1, "adamw": 3e-3, "adam": 3e-3, "rmsprop": 1e-3}


class RandAugment(Section):
    """Random distortions of every training image (arXiv:1909.13719)."""

    operations: Annotated[int, Field(ge=1, le=8)] = Field(2, description="Distortions per image.")
    magnitude: Annotated[float, Field(ge=0, le=30)] = Field(
        9, description="Strength of each distortion, from 0 (none) to 30 (torchvision's strongest)."
    )


class Distillation(Section):
    """A teacher's soft targets in the loss (arXiv:1503.02531)."""

    teacher: Literal["self", "reference"] = Field(
        "self",
        description="self: the candidate's own network, as it is after the dense stage, teaches the later stages. "
        "reference: one network, trained once per run folder, teaches every candidate in every stage.",
    )
    weight: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="Weight of the soft targets in the loss; the labels have the rest."
    )
    temperature: AboveZero = Field(
        4.0, description="The logits of teacher and student are divided by it: the higher, the softer the targets."
    )
    architecture: str | None = Field(
        None,
        description="With teacher reference: its candidate.json; by default the largest network of the space.",
    )

    @model_validator(mode="after")
    def _check(self) -> Distillation:
        if self.architecture is not None and self.teacher != "reference":
            raise ValueError(f"architecture: expected null with teacher {self.teacher}, got {self.architecture!r}")
        return self


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one candidate is trained, all numbers decided. Each field means what the key of its name in `Training` does.

    `Training.resolved` makes it. A share may be missing in `shares`: the stage then has its default share.
    """

    epochs: int
    batch_size: int
    optimizer: Optimizer
    learning_rate: float | None
    momentum: float
    weight_decay: float
    l1: float
    bn_sparsity: float
    rate_weight: float
    schedule: Schedule
    cycle: Cycle
    batch_norm: BatchNorm
    warm_up: float | None
    milestones: tuple[float, ...]
    gamma: float
    label_smoothing: float
    dropout: float
    ema: float
    mixup: float
    randaugment: RandAugment | None
    cutout: float
    class_weights: Literal["none", "balanced"]
    distillation: Distillation | None
    patience: int | None
    shares: Mapping[str, float]
    precision: Literal["auto", "fp32", "bf16"]
    device: Literal["auto", "cpu", "cuda"]

    @property
    def needs_reference(self) -> bool:
        """Whether another network teaches in every stage, by its recorded logits."""
        return self.distillation is not None and self.distillation.teacher == "reference"

    @property
    def peak_learning_rate(self) -> float:
        return self.learning_rate or PEAK_LEARNING_RATES[self.optimizer]

    @property
    def warm_up_share(self) -> float:
        """Share of the schedule's steps in which the rate rises: a quarter with schedule one_cycle, else none."""
        return (0.25 if self.schedule == "one_cycle" else 0.0) if self.warm_up is None else self.warm_up
