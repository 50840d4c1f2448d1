"""The section `finals`: what differs from `training` when finalists are trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from nas.study.recipe import BUILDERS, BatchNorm, Calibration, Cycle, Distillation, Optimizer, RandAugment, Schedule
from nas.study.search import ImageCount
from nas.study.section import AboveZero, AtLeastOne, Factor, NotNegative, Section, Share
from nas.study.training import StageName, Training

NUMBERS_OF_TEACHING = ("teacher_weight", "teacher_temperature")
TEACHING = ("teacher", *NUMBERS_OF_TEACHING)  # what becomes `training.distillation`
OF_DATA = ("train_images",)


class Finals(Section):
    """What differs from `training` when finalists are trained; what is left out is as it is there.

    It may change in a run that goes on, and `nas train DIR TRIAL finals.epochs=60` sets it for one network.
    """

    epochs: AtLeastOne | None = Field(
        None, description="Epochs of a finalist's training, at least a search trial's; by default training.epochs."
    )
    train_images: ImageCount | None = Field(
        None,
        description="Number of training images of finalists, each class in proportion, or all; by default "
        "data.train_images.",
    )
    batch_size: Annotated[int, Field(ge=2)] | None = Field(None, description="By default training.batch_size.")
    teacher: Annotated[int, Field(ge=0)] | str | None = Field(
        None,
        description="Whose soft targets finalists learn from, beside the labels. self: their own network after the "
        "dense stage; reference: one network, trained once by the finalists' recipe; none: labels alone; the path of a "
        "candidate.json: that network, trained likewise; the number of a complete trial of this run, or a folder that "
        "`nas export` wrote: that file as it is; torchvision.NAME: that network, trained "
        "likewise. By default as training.distillation says.",
    )
    teacher_weight: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Weight of the soft targets in the loss; by default that of training.distillation, or 0.5."
    )
    teacher_temperature: AboveZero | None = Field(
        None, description="Temperature of the soft targets; by default that of training.distillation, or 4."
    )
    optimizer: Optimizer | None = Field(None, description="By default training.optimizer.")
    learning_rate: AboveZero | None = Field(None, description="By default training.learning_rate.")
    momentum: Share | None = Field(None, description="By default training.momentum.")
    weight_decay: NotNegative | None = Field(None, description="By default training.weight_decay.")
    l1: NotNegative | None = Field(None, description="By default training.l1.")
    bn_sparsity: NotNegative | None = Field(None, description="By default training.bn_sparsity.")
    rate_weight: NotNegative | None = Field(None, description="By default training.rate_weight.")
    schedule: Schedule | None = Field(None, description="By default training.schedule.")
    cycle: Cycle | None = Field(None, description="By default training.cycle.")
    batch_norm: BatchNorm | None = Field(None, description="By default training.batch_norm.")
    calibration: Calibration | None = Field(None, description="By default training.calibration.")
    bias_correction: bool | None = Field(None, description="By default training.bias_correction.")
    equalization: bool | None = Field(None, description="By default training.equalization.")
    warm_up: Share | None = Field(None, description="By default training.warm_up.")
    milestones: tuple[Share, ...] | None = Field(None, description="By default training.milestones.")
    gamma: Factor | None = Field(None, description="By default training.gamma.")
    label_smoothing: Share | None = Field(None, description="By default training.label_smoothing.")
    dropout: Share | None = Field(None, description="By default training.dropout.")
    ema: Share | None = Field(None, description="By default training.ema.")
    mixup: NotNegative | None = Field(None, description="By default training.mixup.")
    randaugment: RandAugment | None = Field(None, description="By default training.randaugment.")
    cutout: Share | None = Field(None, description="By default training.cutout.")
    class_weights: Literal["none", "balanced"] | None = Field(None, description="By default training.class_weights.")
    patience: AtLeastOne | None = Field(None, description="By default training.patience.")
    shares: dict[StageName, Share] | None = Field(None, description="By default training.shares.")

    @classmethod
    def of(cls, changes: Mapping[str, Any]) -> Finals:
        """What `changes` returned, also after a way through JSON."""
        return cls.model_validate_json(json.dumps(dict(changes)))

    def changes(self) -> dict[str, Any]:
        """The keys that are given, as plain JSON: a recipe by its differences from `training`."""
        return self.model_dump(mode="json", exclude_none=True)

    def over(self, training: Training) -> Training:
        """The settings that finalists are trained with. Raises ValueError where they do not fit together."""
        own = {name: value for name, value in self if value is not None and name not in (*TEACHING, *OF_DATA)}
        changed = {**dict(training), **own, "distillation": self._distillation(training.distillation)}
        try:
            return Training.model_validate(changed)
        except ValidationError as error:
            first = error.errors()[0]
            key, text = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
            raise ValueError(f"finals.{key}: {text}" if key else f"finals.{text}") from None

    def images(self, common: int | None) -> int | None:
        """How many training images finalists have, None for all; `common` is data.train_images."""
        return image_limit(self.train_images, common)

    def _distillation(self, common: Distillation | None) -> Distillation | None:
        numbers = {"weight": self.teacher_weight, "temperature": self.teacher_temperature}
        own: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
        other = {"architecture": None, "weights": None, "size": None}
        match self.teacher:
            case None:
                return common and common.model_copy(update=own)
            case "none":
                return None
            case "self" | "reference" as kind:
                named = common.architecture if common is not None and kind == "reference" else None
                own |= other | {"teacher": kind, "architecture": named}
            case str() as builder if builder.startswith(BUILDERS):
                own |= other | {"teacher": builder}
            case network:
                own |= other | {"teacher": "reference", "architecture": str(network)}
        return (common or Distillation()).model_copy(update=own)


def image_limit(own: int | Literal["all"] | None, common: int | None) -> int | None:
    """A number of training images, None for all: `own` where it is given, else `common`."""
    if own is None:
        return common
    return None if own == "all" else own


def teacher_changes(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a teacher depends on, of its student's recipe: not how much it counts, nor that it is the reference."""
    kept = {key: value for key, value in recipe.items() if key not in NUMBERS_OF_TEACHING}
    return {key: value for key, value in kept.items() if (key, value) != ("teacher", "reference")}
