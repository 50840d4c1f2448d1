"""What a training loop reads: the keys of `training` with a plain number in the place of every searched one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from nas.study.numbers import Searchable, largest
from nas.study.section import AboveZero, NotNegative, Section, ShareToOne

Optimizer = Literal["sgd", "adamw", "adam", "rmsprop"]
Schedule = Literal["cosine", "one_cycle", "step", "exponential", "linear", "constant"]
Cycle = Literal["whole", "stage", "tail"]
BatchNorm = Literal["folded", "live"]
OWN_TEACHERS = ("self", "reference")
BUILDERS = "torchvision."  # how the names of torchvision's networks begin
HIDDEN_PART = r"^stage[1-9]\d*(\.block[1-9]\d*)?$"
Quantization = Literal["aware", "static", "dynamic"]
Calibration = Literal["minmax", "percentile", "mse", "entropy"]
PEAK_LEARNING_RATES: Mapping[Optimizer, float] = {"sgd": 0.1, "adamw": 3e-3, "adam": 3e-3, "rmsprop": 1e-3}


class RandAugment(Section):
    """Random distortions of every training image (arXiv:1909.13719)."""

    operations: Annotated[int, Field(ge=1, le=8)] = Field(2, description="Distortions per image.")
    magnitude: Annotated[float, Field(ge=0, le=30)] = Field(
        9, description="Strength of each distortion, from 0 (none) to 30 (torchvision's strongest)."
    )


class Distillation(Section):
    """What a teacher answers (arXiv:1503.02531) and holds inside (arXiv:1412.6550, arXiv:1612.03928), in the loss."""

    teacher: str = Field(
        "self",
        description="self: the candidate's own network, with the average of its last weights in the dense stage, "
        "teaches the later stages. "
        "reference: one network, trained once per run folder, teaches every candidate in every stage; the path of a "
        "candidate.json: that network, trained likewise; a folder that `nas export` wrote: that network as it is. "
        "torchvision.NAME, like torchvision.resnet18: that network, trained likewise from `weights` on.",
    )
    weight: Searchable[ShareToOne] = Field(
        0.5,
        description="Weight of the soft targets in the loss; the labels have the rest. A network that teaches itself "
        "did better with 0.2 on digits.",
    )
    features_weight: Searchable[NotNegative] = Field(
        0.0,
        description="Weight of the squared distance between the student's feature maps, through a 1x1 convolution that "
        "is trained beside it and not shipped, and the teacher's, over the teacher's mean square (FitNets); 0 is none.",
    )
    attention_weight: Searchable[NotNegative] = Field(
        0.0,
        description="Weight of the squared distance between the attention maps of student and teacher: mean squares "
        "over the channels, of length 1 (attention transfer); 0 is none.",
    )
    at: tuple[Annotated[str, Field(pattern=HIDDEN_PART)], ...] = Field(
        (),
        description="Stages and blocks at whose ends maps are compared, like stage2 or stage2.block1, with the "
        "teacher's of that name, or else of that depth; by default every stage. A block that a candidate lacks is left "
        "out.",
    )
    temperature: Searchable[AboveZero] = Field(
        4.0, description="The logits of teacher and student are divided by it: the higher, the softer the targets."
    )
    architecture: str | None = Field(
        None,
        description="With teacher reference: its candidate.json; by default the largest network of the space.",
    )
    weights: str | None = Field(
        None,
        description="With a torchvision teacher, what it begins with: DEFAULT (torchvision's own for ImageNet, which "
        "are downloaded once), a file of weights (.safetensors or .pth), or none (random). The classifier is new "
        "unless the file has one for as many classes; then it is not trained further. By default DEFAULT.",
    )
    size: Annotated[int, Field(ge=8)] | None = Field(
        None,
        description="With a torchvision teacher: side in pixels that its images are scaled to; by default their own, "
        "but at least 32.",
    )

    @model_validator(mode="before")
    @classmethod
    def _a_path_is_a_reference(cls, given: Any) -> Any:
        """A teacher that is a path is one reference, of that architecture."""
        teacher = given.get("teacher") if isinstance(given, Mapping) else None
        if not isinstance(teacher, str) or teacher in OWN_TEACHERS or teacher.startswith(BUILDERS):
            return given
        if given.get("architecture") is not None:
            raise ValueError(f"architecture: expected null with the path {teacher} as teacher")
        return {**given, "teacher": "reference", "architecture": teacher}

    @model_validator(mode="after")
    def _check(self) -> Distillation:
        if self.architecture is not None and self.teacher != "reference":
            raise ValueError(f"architecture: expected null with teacher {self.teacher}, got {self.architecture!r}")
        for key, value in (("weights", self.weights), ("size", self.size)):
            if value is not None and not self.is_built:
                raise ValueError(f"{key}: expected null with teacher {self.teacher}, got {value!r}")
        if self.at and not self.looks_inside:
            raise ValueError(f"at: expected features_weight or attention_weight above 0 beside it, got {list(self.at)}")
        return self

    @property
    def is_built(self) -> bool:
        """Whether a builder of torchvision makes the teacher."""
        return self.teacher.startswith(BUILDERS)

    @property
    def looks_inside(self) -> bool:
        """Whether what the teacher holds inside may teach too: it then has to run on every batch."""
        return largest(self.features_weight) > 0 or largest(self.attention_weight) > 0


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
    calibration: Calibration = "minmax"
    bias_correction: bool = True
    equalization: bool = False
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
        """Whether another network teaches in every stage."""
        return self.distillation is not None and self.distillation.teacher != "self"

    @property
    def needs_guide(self) -> bool:
        """Whether that network itself has to be there, for what it holds inside."""
        return self.needs_reference and self.distillation is not None and self.distillation.looks_inside

    @property
    def peak_learning_rate(self) -> float:
        return self.learning_rate or PEAK_LEARNING_RATES[self.optimizer]

    @property
    def warm_up_share(self) -> float:
        """Share of the schedule's steps in which the rate rises: a quarter with schedule one_cycle, else none."""
        return (0.25 if self.schedule == "one_cycle" else 0.0) if self.warm_up is None else self.warm_up
